import pytest
import torch

from mmwsss.registry import MODELS


def test_one_map_for_every_category():
    head = MODELS.build(dict(type='ActivationHead', in_channels=5, num_classes=3, in_index=0))
    head.init_weights()
    feats = torch.rand(2, 5, 4, 6), torch.rand(2, 9, 2, 2)
    maps = head(feats)
    weight = head.conv_activation.weight[:, :, 0, 0]
    torch.testing.assert_close(maps, torch.einsum('kc,nchw->nkhw', weight, feats[0]))
    assert maps.shape == (2, 4, 4, 6) and (maps.sigmoid() - 0.5).abs().max() < 0.1
    assert head.num_classes == 3 and head.conv_activation.bias is None


@pytest.mark.parametrize('num_classes', [None, 0])
def test_number_of_classes_is_needed(num_classes):
    with pytest.raises(ValueError, match='num_classes'):
        MODELS.build(dict(type='ActivationHead', in_channels=5, num_classes=num_classes))
