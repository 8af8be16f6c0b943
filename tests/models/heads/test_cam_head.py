import math

import pytest
import torch

from mmwsss.models.heads.cam_head import CAMHead, classification_loss, global_average_pool


@pytest.mark.parametrize('shape', [(1, 1, 1, 1), (2, 3, 4, 5), (3, 8, 7, 2)])
def test_classification_loss_equals_the_sum_over_images_and_classes(shape):
    generator = torch.Generator().manual_seed(sum(shape))
    maps = torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, shape[:2], generator=generator)
    expected = 0.0
    for n in range(shape[0]):
        for c in range(shape[1]):
            values = [float(maps[n, c, y, x]) for y in range(shape[2]) for x in range(shape[3])]
            score = sum(values) / len(values)
            probability = 1 / (1 + math.exp(-score))
            expected -= math.log(probability if labels[n, c] else 1 - probability)
    expected /= shape[0] * shape[1]
    assert classification_loss(global_average_pool(maps), labels).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_of_the_loss_is_sigmoid_minus_label():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]])
    classification_loss(logits, labels).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().sigmoid() - labels) / 12)


def test_head_takes_its_feature_map_and_has_no_bias():
    head = CAMHead(in_channels=6, num_classes=3, in_index=0).eval()
    feats = (torch.randn(2, 6, 5, 4), torch.randn(2, 9, 3, 2))
    maps = head(feats)
    expected = torch.einsum('kc,nchw->nkhw', head.conv_cam.weight[:, :, 0, 0], feats[0])
    torch.testing.assert_close(maps, expected)
    assert [name for name, _ in head.named_parameters()] == ['conv_cam.weight']


def test_score_of_a_class_is_the_mean_of_its_map():
    head = CAMHead(in_channels=6, num_classes=3).eval()
    feats = (torch.randn(2, 6, 5, 4),)
    pooled_first = head((feats[0].mean(dim=(2, 3), keepdim=True),)).flatten(1)
    torch.testing.assert_close(global_average_pool(head(feats)), pooled_first)


def test_dropout_drops_whole_channels_in_training_only():
    head = CAMHead(in_channels=4, num_classes=4, dropout_ratio=0.5)
    with torch.no_grad():
        head.conv_cam.weight.copy_(torch.eye(4)[:, :, None, None])
    feats = (torch.ones(64, 4, 2, 2),)
    torch.manual_seed(0)
    maps = head.train()(feats)
    assert set(maps.unique().tolist()) == {0.0, 2.0}
    assert (maps == maps[:, :, :1, :1]).all()
    assert (head.eval()(feats) == 1).all()


def test_initialisation_is_by_config():
    head = CAMHead(in_channels=64, num_classes=32, init_cfg=dict(type='Constant', val=0.25, layer='Conv2d'))
    head.init_weights()
    assert (head.conv_cam.weight == 0.25).all()
    default = CAMHead(in_channels=256, num_classes=32)
    default.init_weights()
    assert default.conv_cam.weight.std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize('count', [None, 0, -1])
def test_number_of_classes_is_required(count):
    with pytest.raises(ValueError, match='num_classes'):
        CAMHead(in_channels=4, num_classes=count)
