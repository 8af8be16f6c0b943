"""ImageNet's ResNets: both styles, both orders of the channels, and the bias that files from Caffe have."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.models.backbones import ResNet

from mmwsss.converters import SOURCES, convert
from mmwsss.converters.convert_file import convert_file
from mmwsss.engine.input_statistics import STYLES
from mmwsss.engine.weight_init import fold_stem_bias
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.models.utils.normalization import check_normalization
from mmwsss.utils.errors import UserError

WIDTH = 2


def resnet(style='pytorch', file=None):
    init_cfg = dict(type='StrictPretrained', checkpoint=str(file)) if file else None
    model = ResNet(depth=50, style=style, base_channels=WIDTH, stem_channels=WIDTH, init_cfg=init_cfg)
    if file:
        with DefaultScope.overwrite_default_scope('mmwsss'):
            model.init_weights()
    model.eval()  # which returns None
    return model


@pytest.fixture
def original(tmp_path):
    """A file as torchvision has them, with the bias of Caffe if asked for, and the network with it."""
    def original(style, bias=False):
        torch.manual_seed(0)
        model = resnet(style)
        for norm in (part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        weights = {**model.state_dict(), 'fc.weight': torch.ones(3, 4), 'fc.bias': torch.ones(3)}
        if bias:
            weights['conv1.bias'] = torch.randn(WIDTH)
            model.conv1.bias = torch.nn.Parameter(weights['conv1.bias'])
        torch.save(weights, tmp_path / 'original.pth')
        return tmp_path / 'original.pth', model

    return original


@pytest.mark.parametrize('name, style, channels', [
    ('resnet50_torchvision', 'pytorch', 'rgb'), ('resnet50_caffe', 'caffe', 'bgr')])
@pytest.mark.parametrize('bias', [False, True])
def test_both_styles_and_orders(original, tmp_path, name, style, channels, bias):
    file, model = original(style, bias)
    images = torch.randn(2, 3, 40, 33)
    for order in (None, 'rgb', 'bgr'):
        conversion, _ = convert_file(name, file, tmp_path / 'ours.pth', channels=order)
        assert set(conversion.left_out) == {'fc.weight', 'fc.bias', *(['conv1.bias'] if bias else [])}
        turned = order not in (None, channels)
        meta = torch.load(tmp_path / 'ours.pth', weights_only=True)['meta']
        assert meta['style'] == style and meta['images']['bgr_to_rgb'] == ((channels == 'rgb') != turned)
        assert (meta['images']['mean'][0] > 110) == ((channels == 'rgb') != turned)  # red is the brightest
        ours = resnet(style, tmp_path / 'ours.pth')
        for one, two in zip(ours(images.flip(1) if turned else images), model(images), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)
        with pytest.raises(UserError, match=f"is a ResNet with style='{style}', but the config has style="):
            resnet('caffe' if style == 'pytorch' else 'pytorch', tmp_path / 'ours.pth')


@pytest.mark.parametrize('name', STYLES)
def test_images_of_the_other_order_are_refused(original, tmp_path, name):
    images, style = STYLES[name]
    own = 'rgb' if images.bgr_to_rgb else 'bgr'
    orders = {order: dict(mean=images.mean[::1 if order == own else -1], std=images.std[::1 if order == own else -1],
                          bgr_to_rgb=order == 'rgb') for order in ('rgb', 'bgr')}
    for order in (None, 'rgb', 'bgr'):
        convert_file(f'resnet50_{name}', original(style)[0], tmp_path / 'ours.pth', channels=order)
        model = torch.nn.Module()
        model.backbone = resnet(style, tmp_path / 'ours.pth')
        for config, settings in orders.items():
            model.data_preprocessor = WSSSDataPreProcessor(**settings)
            if config == (order or own):
                check_normalization(model)
            else:
                with pytest.raises(UserError, match=rf'backbone has the weights of .*ours\.pth, which are for '
                                                    rf'{(order or own).upper()} images; set mean='):
                    check_normalization(model)


def test_file_with_the_bias_loads_as_it_is(original):
    file, model = original('caffe', bias=True)
    ours = resnet('caffe', file)
    images = torch.randn(1, 3, 32, 32)
    for one, two in zip(ours(images), model(images), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_weights_without_the_bias_stay_as_they_are():
    weights = {'bn1.running_mean': torch.ones(2)}
    assert fold_stem_bias(weights) is weights
    other = {'conv1.bias': torch.ones(2), 'layer.weight': torch.ones(1)}
    assert fold_stem_bias(other) is other


def test_depth_is_that_of_the_source(original):
    _, model = original('pytorch')
    with pytest.raises(UserError, match="this is not ImageNet's ResNet101 in torchvision style"):
        convert(SOURCES['resnet101_torchvision'], model.state_dict(), Path('r50.pth'))


def test_other_sources_have_one_order(tmp_path):
    with pytest.raises(UserError, match='--channels: seam has no other order'):
        convert_file('seam', tmp_path / 'a.pth', tmp_path / 'b.pth', channels='rgb')
