from pathlib import Path

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmseg.models.backbones import ResNet
from torch import nn

import mmwsss.engine  # noqa: F401
from mmwsss.models.heads import CAMHead
from mmwsss.utils.errors import UserError


class Block(BaseModule):

    def __init__(self):
        super().__init__(init_cfg=dict(type='Constant', layer='Conv2d', val=9.))
        self.conv = nn.Conv2d(2, 2, 1)


class Backbone(BaseModule):

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.block = Block()
        self.module = ConvModule(2, 2, 1, norm_cfg=dict(type='BN'))
        self.inner = nn.Sequential(Block())


class Model(BaseModule):

    def __init__(self, backbone_init, init_cfg=None):
        super().__init__(init_cfg)
        self.backbone = Backbone(backbone_init)
        self.head = nn.Conv2d(2, 2, 1)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield


@pytest.fixture
def pretrained(tmp_path):
    torch.manual_seed(1)
    state_dict = {key: torch.randn_like(value) if value.is_floating_point() else value
                  for key, value in Backbone().state_dict().items()}
    torch.save({**state_dict, 'fc.weight': torch.ones(3)}, tmp_path / 'plain.pth')
    torch.save(dict(state_dict={**{f'backbone.{key}': value for key, value in state_dict.items()},
                                'head.weight': torch.ones(1)}), tmp_path / 'model.pth')
    return tmp_path, state_dict


def equals(module, state_dict):
    own = module.state_dict()
    return all(torch.equal(own[key], value.to(own[key].dtype)) for key, value in state_dict.items())


def init(**kwargs):
    return dict(type='StrictPretrained', **kwargs)


def test_children_do_not_overwrite_the_weights(pretrained):
    folder, state_dict = pretrained
    model = Backbone(init(checkpoint=str(folder / 'plain.pth')))
    model.init_weights()
    assert equals(model, state_dict)


def test_backbone_inside_a_model_with_an_init_of_its_own(pretrained):
    folder, state_dict = pretrained
    model = Model(init(checkpoint=str(folder / 'plain.pth')), dict(type='Constant', layer='Conv2d', val=5.))
    model.init_weights()
    assert equals(model.backbone, state_dict)
    assert (model.head.weight == 5).all()


def test_without_it_children_initialise_themselves():
    model = Backbone()
    model.init_weights()
    assert (model.block.conv.weight == 9).all()


def test_prefix(pretrained):
    folder, state_dict = pretrained
    for prefix in ('backbone', 'backbone.'):
        model = Backbone(init(checkpoint=str(folder / 'model.pth'), prefix=prefix))
        model.init_weights()
        assert equals(model, state_dict)
    model = Backbone(init(checkpoint=str(folder / 'model.pth'), prefix='back'))
    with pytest.raises(UserError, match=r"no key starts with 'back\.'"):
        model.init_weights()


def test_half_precision_is_cast(pretrained):
    folder, state_dict = pretrained
    half = {key: value.half() if value.is_floating_point() else value for key, value in state_dict.items()}
    torch.save(half, folder / 'half.pth')
    model = Backbone(init(checkpoint=str(folder / 'half.pth')))
    model.init_weights()
    assert equals(model, half) and model.block.conv.weight.dtype == torch.float32


def test_what_the_file_says_of_its_images_is_kept(pretrained):
    folder, state_dict = pretrained
    images = dict(mean=[1., 2., 3.], std=[4., 5., 6.], bgr_to_rgb=False)
    torch.save(dict(state_dict=state_dict, meta=dict(images=images)), folder / 'bgr.pth')
    model = Backbone(init(checkpoint=str(folder / 'bgr.pth')))
    model.init_weights()
    assert model.normalization.mean == (3, 2, 1) and not model.normalization.bgr_to_rgb
    assert model.normalization.file == str(folder / 'bgr.pth')
    model = Backbone(init(checkpoint=str(folder / 'plain.pth')))
    model.init_weights()
    assert not hasattr(model, 'normalization')


@pytest.mark.parametrize('change, message', [
    (lambda s: s.pop('inner.0.conv.bias'), r'1 key missing \(inner\.0\.conv\.bias\)'),
    (lambda s: s.pop('module.bn.running_mean'), '1 key missing'),
    (lambda s: s.update(other=torch.ones(1)), r'1 key unexpected \(other\)'),
    (lambda s: s.update({'block.conv.bias': torch.ones(3)}), '1 key of another shape'),
])
def test_weights_that_do_not_fit(pretrained, change, message):
    folder, state_dict = pretrained
    change(state_dict)
    torch.save(state_dict, folder / 'bad.pth')
    with pytest.raises(UserError, match=f'bad.pth: {message}.*not the weights of Backbone') as error:
        Backbone(init(checkpoint=str(folder / 'bad.pth'))).init_weights()
    assert '\n' not in str(error.value)


def test_batch_counter_may_be_missing_and_ignored_keys_may_be_there(pretrained):
    folder, state_dict = pretrained
    state_dict.pop('module.bn.num_batches_tracked')
    torch.save({**state_dict, 'aux.w': torch.ones(1), 'fc2': torch.ones(1)}, folder / 'a.pth')
    model = Backbone(init(checkpoint=str(folder / 'a.pth'), ignore=['^aux', 'fc']))
    model.init_weights()
    assert equals(model, state_dict)
    with pytest.raises(UserError, match=r'unexpected \(fc2\)'):
        Backbone(init(checkpoint=str(folder / 'a.pth'), ignore='^aux')).init_weights()


def test_init_cfg_that_would_overwrite_it(pretrained):
    folder, state_dict = pretrained
    strict, normal = init(checkpoint=str(folder / 'plain.pth')), dict(type='Constant', layer='Conv2d', val=3.)
    model = Backbone([normal, strict])
    model.init_weights()
    assert equals(model, state_dict)
    with pytest.raises(UserError, match='Constant comes after StrictPretrained'):
        Backbone([strict, normal]).init_weights()


def test_resnet_of_mmseg_with_caffe_weights():
    path = Path(__file__).parents[2] / '../shared/weights/resnet50_caffe_imagenet.pth'
    if not path.exists():
        pytest.skip(f'needs {path}')
    model = ResNet(50, style='caffe', norm_eval=True, zero_init_residual=True, init_cfg=init(checkpoint=str(path)))
    model.init_weights()
    weights = torch.load(path, weights_only=True)
    weights = weights.get('state_dict', weights)
    assert torch.equal(model.conv1.weight, weights['conv1.weight'].float())
    assert torch.equal(model.layer4[2].bn3.weight, weights['layer4.2.bn3.weight'].float())
    with pytest.raises(UserError, match='not the weights of ResNet'):
        ResNet(18, init_cfg=init(checkpoint=str(path))).init_weights()


@pytest.mark.parametrize('bias', [True, False])
def test_head_of_a_pretrained_classifier(tmp_path, bias):
    """The scores of the head are those of the linear layer after a global average pooling."""
    weight, features = torch.randn(3, 4), torch.randn(2, 4, 5, 6)
    state = {'fc.weight': weight.half(), 'fc.bias': torch.randn(3), 'other.weight': torch.ones(1)}
    torch.save(state, tmp_path / 'a.pth')

    def head(num_classes=3, **options):
        return CAMHead(4, num_classes, bias=bias, init_cfg=dict(
            type='PretrainedClassifier', checkpoint=str(tmp_path / 'a.pth'), **{'prefix': 'fc', **options}))

    model = head()
    model.init_weights()
    expected = features.mean(dim=(2, 3)) @ weight.half().float().T + (state['fc.bias'] if bias else 0)
    torch.testing.assert_close(model.pool(model([features])), expected)
    with pytest.raises(UserError, match=r'has no classifier\.weight'):
        head(prefix='classifier').init_weights()
    with pytest.raises(UserError, match='other classes or channels'):
        head(num_classes=4).init_weights()
