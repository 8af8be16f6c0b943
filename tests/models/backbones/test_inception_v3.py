import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.backbones import InceptionV3
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


@torch.no_grad()
@pytest.mark.parametrize('output_stride', [8, 16])
def test_shapes(output_stride):
    model = MODELS.build(dict(type='InceptionV3', output_stride=output_stride, out_indices=(0, 1, 2, 3))).eval()
    taps = model(torch.randn(1, 3, 75, 110))
    assert [tap.shape[1] for tap in taps] == [64, 192, 288, 768]
    assert [tuple(tap.shape[-2:]) for tap in taps] == [(-(-75 // s), -(-110 // s)) for s in (2, 4, 8, output_stride)]
    assert all(tap.min() >= 0 for tap in taps)


def conv(state, name, x, stride=1):
    weight = state[f'{name}.conv.weight']
    x = F.conv2d(x, weight, stride=stride, padding=(weight.shape[2] // 2, weight.shape[3] // 2))
    mean, var = state[f'{name}.bn.running_mean'], state[f'{name}.bn.running_var']
    x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-3).sqrt()
    return (x * state[f'{name}.bn.weight'][:, None, None] + state[f'{name}.bn.bias'][:, None, None]).relu()


def chain(state, names, x):
    for name in names:
        x = conv(state, name, x)
    return x


@torch.no_grad()
def test_modules_equal_the_reference():
    """One module of each kind, written down branch by branch."""
    torch.manual_seed(0)
    model = InceptionV3().eval()
    state = {key: torch.rand_like(value.float()) * 0.1 for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    x = torch.rand(1, 192, 7, 6)
    m = 'Mixed_5b.branch'
    expected = torch.cat([
        conv(state, f'{m}1x1', x), chain(state, [f'{m}5x5_1', f'{m}5x5_2'], x),
        chain(state, [f'{m}3x3dbl_1', f'{m}3x3dbl_2', f'{m}3x3dbl_3'], x),
        conv(state, f'{m}_pool', F.avg_pool2d(x, 3, 1, 1))], dim=1)
    torch.testing.assert_close(model.Mixed_5b(x), expected)
    m = 'Mixed_6c.branch'
    x = torch.rand(1, 768, 5, 9)
    expected = torch.cat([
        conv(state, f'{m}1x1', x), chain(state, [f'{m}7x7_{i}' for i in (1, 2, 3)], x),
        chain(state, [f'{m}7x7dbl_{i}' for i in (1, 2, 3, 4, 5)], x),
        conv(state, f'{m}_pool', F.avg_pool2d(x, 3, 1, 1))], dim=1)
    torch.testing.assert_close(model.Mixed_6c(x), expected)
    m = 'Mixed_6a.branch'
    for stride in (1, 2):
        module = InceptionV3(output_stride=8 * stride).Mixed_6a.eval()
        module.load_state_dict({k.removeprefix('Mixed_6a.'): v for k, v in state.items() if k.startswith('Mixed_6a.')})
        x = torch.rand(1, 288, 9, 8)
        expected = torch.cat([
            conv(state, f'{m}3x3', x, stride),
            conv(state, f'{m}3x3dbl_3', chain(state, [f'{m}3x3dbl_1', f'{m}3x3dbl_2'], x), stride),
            F.max_pool2d(x, 3, stride, 1)], dim=1)
        torch.testing.assert_close(module(x), expected)
    assert state['Mixed_6c.branch7x7_2.conv.weight'].shape == (160, 160, 1, 7)
    assert state['Mixed_6c.branch7x7dbl_2.conv.weight'].shape == (160, 160, 7, 1)


def test_weights_of_torchvision_fit():
    torchvision = pytest.importorskip('torchvision', reason='needs torchvision')
    theirs = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False).state_dict()
    ours = InceptionV3().state_dict()
    rest = {key for key in theirs if not key.startswith(('Mixed_7', 'fc.'))}
    assert set(ours) == rest and all(ours[key].shape == theirs[key].shape for key in rest)


def test_frozen_and_batch_norm():
    model = InceptionV3(frozen_stages=2, norm_frozen=True).train()
    assert not model.Conv2d_4a_3x3.conv.weight.requires_grad and not model.Conv2d_4a_3x3.training
    assert model.Mixed_5b.branch1x1.conv.weight.requires_grad and not model.Mixed_5b.branch1x1.bn.weight.requires_grad
    assert not InceptionV3(norm_eval=True).train().Mixed_6a.branch3x3.bn.training


@pytest.mark.parametrize('kwargs', [dict(output_stride=32), dict(out_indices=()), dict(out_indices=(4,))])
def test_mistakes(kwargs):
    with pytest.raises(UserError, match='InceptionV3'):
        InceptionV3(**kwargs)
