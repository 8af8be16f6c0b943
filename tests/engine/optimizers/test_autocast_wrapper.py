import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn
from toy_runner import toy_runner, train, weights

from mmwsss.engine.optimizers import AutocastOptimWrapper
from mmwsss.registry import OPTIM_WRAPPERS
from mmwsss.utils.errors import UserError


def build(type='AutocastOptimWrapper', **kwargs):
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return model, OPTIM_WRAPPERS.build(dict(type=type, optimizer=optimizer, **kwargs))


def steps(model, wrapper, count, scale=1.):
    wrapper.initialize_count_status(model, 0, count)
    updates = []
    for i in range(count):
        before = model.weight.clone()
        with wrapper.optim_context(model):
            loss = scale * model(torch.full((2, 4), i + 1.)).square().mean()
        wrapper.update_params(loss)
        updates.append(not torch.equal(before, model.weight))
    return updates


def test_runs_in_bfloat16_with_weights_in_float32():
    model, wrapper = build()
    assert isinstance(wrapper, AutocastOptimWrapper) and isinstance(wrapper, OptimWrapper)
    x = torch.randn(2, 4)
    with wrapper.optim_context(model):
        y = model(x)
    assert y.dtype == torch.bfloat16
    expected = nn.functional.linear(x.bfloat16(), model.weight.bfloat16(), model.bias.bfloat16())
    assert torch.equal(y, expected)
    wrapper.update_params(y.sum())
    assert model.weight.dtype == torch.float32
    assert model(x).dtype == torch.float32  # off again outside


def test_accumulation_and_clipping_as_in_optim_wrapper():
    for options in (dict(accumulative_counts=3), dict(clip_grad=dict(max_norm=1e-3))):
        model, wrapper = build(**options)
        reference, plain = build('OptimWrapper', **options)
        assert steps(model, wrapper, 7) == steps(reference, plain, 7)
        # bfloat16 has 8 significant bits.
        torch.testing.assert_close(model.weight, reference.weight, rtol=0.05, atol=0.02)
    assert steps(*build(accumulative_counts=3), 7) == [False, False, True, False, False, True, True]
    model, wrapper = build(clip_grad=dict(max_norm=1e-3))
    before = model.weight.clone()
    steps(model, wrapper, 1, scale=1e4)
    assert 0 < (model.weight - before).norm() <= 0.5e-3 * 1.001


def test_trains_through_a_runner(tmp_path):
    optim = dict(optimizer=dict(type='SGD', lr=0.1))
    mixed = train(toy_runner(tmp_path / 'mixed', optim_wrapper=dict(type='AutocastOptimWrapper', **optim)))
    assert mixed.model.seen['features'].dtype == torch.bfloat16
    full = train(toy_runner(tmp_path / 'full', optim_wrapper=dict(type='OptimWrapper', **optim)))
    for key, value in weights(full.model).items():
        torch.testing.assert_close(weights(mixed.model)[key], value, rtol=0.05, atol=0.05)


def test_other_types():
    with pytest.raises(UserError, match='AmpOptimWrapper'):
        build(dtype='float16')
    with pytest.raises(UserError, match='dtype=float32'):
        build(dtype='float32')
