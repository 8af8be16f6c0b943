import pytest
import torch
from mmengine.optim import PolyLR, build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from mmwsss.engine.optimizers import WSSSOptimWrapperConstructor
from mmwsss.engine.optimizers.multiplier_constructor import split_parameters
from mmwsss.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmwsss.utils.errors import UserError


class Model(nn.Module):

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=False))
        self.neck = nn.Conv2d(4, 4, 1)
        self.cam_head = nn.Sequential(nn.Conv2d(4, 2, 1), nn.Dropout(), nn.Conv2d(2, 2, 1, bias=False))
        self.cam_head_aux = nn.Conv2d(4, 2, 1)


def build(model, paramwise_cfg=None, **optimizer):
    cfg = {
        'type': 'OptimWrapper',
        'constructor': 'WSSSOptimWrapperConstructor',
        'optimizer': {'type': 'SGD', 'lr': 0.1, 'weight_decay': 0.01, **optimizer},
    }
    if paramwise_cfg is not None:
        cfg['paramwise_cfg'] = paramwise_cfg
    # As within a Runner whose config says default_scope = 'mmwsss'.
    with DefaultScope.overwrite_default_scope('mmwsss'):
        return build_optim_wrapper(model, cfg)


def names_by_group(model, wrapper):
    names = {id(p): n for n, p in model.named_parameters()}
    groups = wrapper.optimizer.param_groups
    return {group['name']: {names[id(p)] for p in group['params']} for group in groups}


def test_registered():
    assert OPTIM_WRAPPER_CONSTRUCTORS.get('WSSSOptimWrapperConstructor') is WSSSOptimWrapperConstructor


@pytest.mark.parametrize('paramwise_cfg', [None, {}, {'bias_mult': 2}])
def test_default_groups(paramwise_cfg):
    model = Model()
    wrapper = build(model, paramwise_cfg)
    assert names_by_group(model, wrapper) == {
        'pretrained_weights': {'backbone.0.weight', 'backbone.1.weight', 'backbone.2.weight'},
        'pretrained_biases': {'backbone.0.bias', 'backbone.1.bias'},
        'new_weights': {'neck.weight', 'cam_head.0.weight', 'cam_head.2.weight', 'cam_head_aux.weight'},
        'new_biases': {'neck.bias', 'cam_head.0.bias', 'cam_head_aux.bias'},
    }
    rates = {g['name']: (g['lr'], g['weight_decay']) for g in wrapper.optimizer.param_groups}
    assert rates == {
        'pretrained_weights': (pytest.approx(0.1), 0.01),
        'pretrained_biases': (pytest.approx(0.2), 0.0),
        'new_weights': (pytest.approx(1.0), 0.01),
        'new_biases': (pytest.approx(2.0), 0.0),
    }


def test_backbone_of_a_model_inside_is_pretrained():
    class Siamese(nn.Module):

        def __init__(self):
            super().__init__()
            self.classifier = Model()
            self.pcm = nn.Conv2d(4, 2, 1, bias=False)
            self.backbone_pooling = nn.Conv2d(2, 2, 1)  # no backbone by its whole name

    model = Siamese()
    assert names_by_group(model, build(model)) == {
        'pretrained_weights': {f'classifier.backbone.{i}.weight' for i in range(3)},
        'pretrained_biases': {'classifier.backbone.0.bias', 'classifier.backbone.1.bias'},
        'new_weights': {'pcm.weight', 'backbone_pooling.weight', 'classifier.neck.weight',
                        'classifier.cam_head.0.weight', 'classifier.cam_head.2.weight',
                        'classifier.cam_head_aux.weight'},
        'new_biases': {'backbone_pooling.bias', 'classifier.neck.bias', 'classifier.cam_head.0.bias',
                       'classifier.cam_head_aux.bias'}}
    groups = names_by_group(model, build(model, {'new_layers': ['classifier.cam_head', 'pcm']}))
    assert groups['new_weights'] == {'pcm.weight', 'classifier.cam_head.0.weight', 'classifier.cam_head.2.weight'}


def test_multipliers_are_used():
    wrapper = build(Model(), {'weight_mult': 3, 'bias_mult': 5, 'new_weight_mult': 7, 'new_bias_mult': 0,
                              'bias_decay_mult': 0.5})
    rates = [(g['lr'], g['weight_decay']) for g in wrapper.optimizer.param_groups]
    assert rates == [(pytest.approx(0.3), 0.01), (pytest.approx(0.5), 0.005), (pytest.approx(0.7), 0.01),
                     (0.0, 0.005)]


def test_new_layers_are_whole_names():
    model = Model()
    groups = names_by_group(model, build(model, {'new_layers': ['cam_head', 'backbone.2']}))
    assert groups['new_weights'] == {'cam_head.0.weight', 'cam_head.2.weight', 'backbone.2.weight'}
    assert groups['new_biases'] == {'cam_head.0.bias'}
    assert 'cam_head_aux.weight' in groups['pretrained_weights']
    assert 'neck.bias' in groups['pretrained_biases']


def test_no_new_layers():
    model = Model()
    assert set(names_by_group(model, build(model, {'new_layers': []}))) == {
        'pretrained_weights', 'pretrained_biases'}


@pytest.mark.parametrize('frozen', [(), ('backbone.0',), ('backbone',), ('backbone.1', 'cam_head.0')])
def test_every_trainable_parameter_once(frozen):
    model = Model()
    model.temperature = nn.Parameter(torch.ones(()))
    model.neck_again = model.neck
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    wrapper = build(model)
    in_groups = [id(p) for group in wrapper.optimizer.param_groups for p in group['params']]
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert len(in_groups) == len(set(in_groups))
    assert set(in_groups) == trainable
    assert all(group['params'] for group in wrapper.optimizer.param_groups)


def test_split_matches_a_walk_over_modules():
    model = Model()
    expected = {key: set() for key in ((False, False), (False, True), (True, False), (True, True))}
    for name, module in model.named_modules():
        for kind in ('weight', 'bias'):
            parameter = getattr(module, kind, None)
            if parameter is not None:
                expected[name.split('.')[0] != 'backbone', kind == 'bias'].add(id(parameter))
    assert {key: {id(p) for p in group} for key, group in split_parameters(model).items()} == expected


def test_poly_schedule_scales_all_groups_alike():
    wrapper = build(Model())
    initial = [group['lr'] for group in wrapper.optimizer.param_groups]
    total = 7  # mmengine's schedule arrives at 0 one step before its end
    schedule = PolyLR(wrapper, power=0.9, begin=0, end=total + 1, by_epoch=False)
    for step in range(1, total + 1):
        wrapper.step()
        schedule.step()
        factor = (1 - step / total) ** 0.9
        rates = [group['lr'] for group in wrapper.optimizer.param_groups]
        assert rates == pytest.approx([lr * factor for lr in initial])


def test_steps_move_groups_by_their_multiplier():
    model = Model()
    wrapper = build(model, weight_decay=0.0)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    wrapper.update_params(sum(p.sum() for p in model.parameters()))
    for name, multiplier in (('backbone.0.weight', 1), ('backbone.1.bias', 2), ('neck.weight', 10),
                             ('cam_head.0.bias', 20)):
        moved = before[name] - model.get_parameter(name).detach()
        torch.testing.assert_close(moved, torch.full_like(moved, 0.1 * multiplier))


def test_state_dict_survives_a_safe_load(tmp_path):
    wrapper = build(Model(), momentum=0.9)
    torch.save(wrapper.state_dict(), tmp_path / 'optimizer.pth')
    other = build(Model(), momentum=0.9)
    other.load_state_dict(torch.load(tmp_path / 'optimizer.pth', weights_only=True))
    names = ['pretrained_weights', 'pretrained_biases', 'new_weights', 'new_biases']
    assert [g['name'] for g in other.optimizer.param_groups] == names


def test_wrapped_model():
    class Wrapper(nn.Module):

        def __init__(self, module):
            super().__init__()
            self.module = module

    model = Model()
    wrapper = build(Wrapper(model), {'new_layers': ['cam_head']})
    assert 'backbone.0.weight' in names_by_group(model, wrapper)['pretrained_weights']


def test_without_weight_decay_biases_have_none():
    constructor = WSSSOptimWrapperConstructor({'optimizer': {'type': 'AdamW', 'lr': 0.1}})
    assert [g['weight_decay'] for g in constructor(Model()).optimizer.param_groups] == [0.01, 0.0, 0.01, 0.0]


@pytest.mark.parametrize('paramwise_cfg, message', [
    ({'new_layers': ['cam_haed']}, 'cam_haed'),
    ({'new_layers': ['cam_head', 'cam']}, "'cam'"),
    ({'new_layers': ['']}, "''"),
    ({'new_layers': 'cam_head'}, 'list of names'),
    ({'new_layers': [3]}, 'list of names'),
    ({'bias_lr_mult': 2}, 'bias_lr_mult'),
    ({'custom_keys': {}}, 'custom_keys'),
    ({'new_bias_mult': -1}, 'new_bias_mult'),
    ({'weight_mult': '1'}, 'weight_mult'),
])
def test_mistakes(paramwise_cfg, message):
    with pytest.raises(UserError, match=message):
        build(Model(), paramwise_cfg)


@pytest.mark.parametrize('optimizer, message', [
    ({'type': 'SGDD', 'lr': 1.0}, 'SGDD'), ({'type': 'SGD', 'lr': 'fast'}, r'\.lr.*fast'),
    ({'type': 'SGD', 'lr': 1.0, 'weight_decay': 'x'}, r'weight_decay.*x')])
def test_mistakes_in_the_optimizer(optimizer, message):
    with pytest.raises(UserError, match=message):
        WSSSOptimWrapperConstructor({'optimizer': optimizer})


def test_optimizer_needs_lr_and_decay():
    with pytest.raises(UserError, match='lr'):
        WSSSOptimWrapperConstructor({'optimizer': {'type': 'SGD'}})
    with pytest.raises(UserError, match='weight_decay'):
        WSSSOptimWrapperConstructor({'optimizer': {'type': 'SGD', 'lr': 1.0}}, {'bias_decay_mult': 1.0})


def test_nothing_trainable():
    with pytest.raises(UserError, match='no trainable parameter'):
        build(Model().requires_grad_(False))


class DeepBackbone(nn.Module):
    """An embedding, two blocks and a norm, which tells their depths as mmpretrain's backbones do."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(2, 2), nn.Linear(2, 2)
        self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

    def get_layer_depth(self, param_name, prefix=''):
        assert param_name.startswith(prefix)
        parts = param_name[len(prefix):].split('.')
        return dict(embed=0, norm=3).get(parts[0], 1 + int(parts[1]) if parts[0] == 'blocks' else None), 4


def deep_model():
    model = nn.Module()
    model.classifier = nn.Module()
    model.classifier.backbone, model.classifier.head = DeepBackbone(), nn.Linear(2, 2)
    return model


def test_layer_decay():
    model = deep_model()
    wrapper = build(model, dict(layer_decay=0.5, bias_mult=2, new_weight_mult=10))
    rates = {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            rates[next(n for n, p in model.named_parameters() if p is parameter)] = group['lr']
    base = 'classifier.backbone.'
    assert {name: pytest.approx(rate) for name, rate in rates.items()} == {
        f'{base}embed.weight': 0.1 / 8, f'{base}blocks.0.weight': 0.1 / 4, f'{base}blocks.1.weight': 0.1 / 2,
        f'{base}norm.weight': 0.1, f'{base}embed.bias': 0.2 / 8, f'{base}blocks.0.bias': 0.2 / 4,
        f'{base}blocks.1.bias': 0.2 / 2, f'{base}norm.bias': 0.2,
        'classifier.head.weight': 1.0, 'classifier.head.bias': 2.0}
    names = [group['name'] for group in wrapper.optimizer.param_groups]
    assert names[:2] == ['pretrained_weights_depth0', 'pretrained_weights_depth1'] and names[-1] == 'new_biases'
    assert len(set(names)) == len(names)
    decays = {group['name']: group['weight_decay'] for group in wrapper.optimizer.param_groups}
    assert decays['pretrained_biases_depth0'] == 0 and decays['pretrained_weights_depth3'] == 0.01


def test_layer_decay_of_one_changes_no_rate():
    plain, one = build(deep_model()), build(deep_model(), dict(layer_decay=1))
    rates = [sorted((p.numel(), g['lr']) for g in w.optimizer.param_groups for p in g['params']) for w in (plain, one)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize('decay', [0, 1.1, -0.5, 'half'])
def test_layer_decay_out_of_range(decay):
    with pytest.raises(UserError, match='layer_decay'):
        build(deep_model(), dict(layer_decay=decay))


def test_layer_decay_needs_a_backbone_with_depths():
    with pytest.raises(UserError, match='no backbone that tells the depth'):
        build(Model(), dict(layer_decay=0.9))
