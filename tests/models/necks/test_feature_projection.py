import torch

import mmwsss.models  # noqa: F401  registers the components
from mmwsss.registry import MODELS


def test_appends_a_linear_map_of_one_stage():
    torch.manual_seed(0)
    neck = MODELS.build(dict(type='FeatureProjection', in_channels=4, channels=3, in_index=0))
    neck.init_weights()
    feats = (torch.randn(2, 4, 5, 6), torch.randn(2, 7, 3, 3))
    first, second, x = neck(feats)
    assert first is feats[0] and second is feats[1]
    expected = torch.zeros(2, 3, 5, 6)
    for n in range(2):
        for row in range(5):
            for column in range(6):
                expected[n, :, row, column] = neck.conv.weight[:, :, 0, 0] @ feats[0][n, :, row, column]
    torch.testing.assert_close(x, expected)
    assert (x < 0).any()
    torch.testing.assert_close(neck((-2 * feats[0],))[-1], -2 * x)


def test_initialisation_keeps_the_size_of_features():
    torch.manual_seed(0)
    neck = MODELS.build(dict(type='FeatureProjection', in_channels=640))
    neck.init_weights()
    feats = torch.randn(2, 640, 8, 8)
    assert neck((feats,))[-1].shape == (2, 256, 8, 8)
    assert 0.9 < neck((feats,))[-1].std() < 1.1
