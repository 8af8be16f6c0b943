import pytest
import torch
from mmseg.models.backbones import ResNet

from mmwsss.engine.fuse_conv_bn import fuse_conv_bn
from mmwsss.models.backbones import ResNetWithStem
from mmwsss.registry import MODELS

SMALL = dict(depth=18, stem_channels=4, base_channels=4, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1))


def pair(**kwargs):
    torch.manual_seed(0)
    plain, ours = ResNet(**SMALL, **kwargs), MODELS.build(dict(type='ResNetWithStem', **SMALL, **kwargs))
    ours.load_state_dict(plain.state_dict())  # the same keys
    plain.eval()
    ours.eval()
    return plain, ours


@pytest.mark.parametrize('kwargs', [{}, dict(style='caffe'), dict(out_indices=(1, 3)), dict(deep_stem=True)])
@torch.no_grad()
def test_stem_comes_before_the_stages(kwargs):
    plain, ours = pair(**kwargs)
    images, caught = torch.randn(2, 3, 37, 42), []
    plain.maxpool.register_forward_hook(lambda module, args, output: caught.append(output.clone()))
    expected = plain(images)
    stem, *stages = ours(images)
    assert stem.shape == (2, 4, 10, 11) and torch.equal(stem, caught[0])
    assert len(stages) == len(expected) and all(map(torch.equal, stages, expected))


@torch.no_grad()
def test_batch_norms_fold():
    _, ours = pair()
    images = torch.randn(1, 3, 32, 32)
    expected = ours(images)
    assert fuse_conv_bn(torch.nn.Sequential(ours).eval()) > 0
    for one, other in zip(ours(images), expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_strides():
    assert [feat.shape[-2:] for feat in ResNetWithStem(**SMALL)(torch.rand(1, 3, 64, 96))] == [
        (16, 24), (16, 24), (8, 12), (4, 6), (4, 6)]
