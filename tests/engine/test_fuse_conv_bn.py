import copy

import pytest
import torch
from mmseg.models.backbones import ResNet
from torch import nn

from mmwsss.engine.fuse_conv_bn import fuse_conv_bn
from mmwsss.models import EfficientNetLite, ResNet38


def with_random_statistics(model):
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.eval()  # mmseg's ResNet returns nothing
    return model


@pytest.mark.parametrize('make', [lambda: ResNet(18, style='pytorch', base_channels=8),
                                  lambda: ResNet(50, style='caffe', base_channels=8, deep_stem=True),
                                  lambda: EfficientNetLite('lite0', with_head_conv=True)])
def test_fused_backbone_gives_the_same_features(make):
    model = with_random_statistics(make())
    images = torch.randn(2, 3, 40, 33)
    fused = copy.deepcopy(model)
    count = fuse_conv_bn(nn.Sequential(fused).eval())
    assert count == sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) > 10
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    with torch.no_grad():
        for expected, feature in zip(model(images), fused(images), strict=True):
            torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_pre_activation_network_stays_as_it_is():
    model = with_random_statistics(ResNet38(base_channels=4))
    images = torch.randn(1, 3, 24, 24)
    expected = model(images)
    assert fuse_conv_bn(model) == 0
    torch.testing.assert_close(model(images), expected, rtol=0, atol=0)


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match='training mode'):
        fuse_conv_bn(nn.Sequential(ResNet(18, base_channels=4)))
