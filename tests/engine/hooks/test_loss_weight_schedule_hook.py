import pytest
from toy_runner import Killed, ToyModel, toy_runner, train

from mmwsss.engine.hooks import LossWeightScheduleHook
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


@MODELS.register_module(force=True)
class WithLossWeights(ToyModel):
    """Keeps the weights of every iteration."""

    def __init__(self):
        super().__init__()
        self.loss_weights = dict(cls=1.0, mam=0.5)
        self.seen = []
        self.weights = []

    def forward(self, inputs, label=None, data_samples=None, mode='tensor'):
        if mode == 'loss':
            self.weights.append(dict(self.loss_weights))
        return super().forward(inputs, label, data_samples, mode)


def make(work_dir, hook=(), **overrides):
    hooks = [dict(type='SeedHook'), dict(dict(type='LossWeightScheduleHook'), **dict(hook))]
    return toy_runner(work_dir, model=dict(type='WithLossWeights'), custom_hooks=hooks, **overrides)


def mam(runner):
    assert all(weights['cls'] == 1 for weights in runner.model.weights)
    return [weights['mam'] for weights in runner.model.weights]


EPOCHS, ITERATIONS = dict(by_epoch=True, max_epochs=3), dict(by_epoch=False, max_iters=9)


@pytest.mark.parametrize('loop, hook, zeros, value', [
    (EPOCHS, {}, 3, 0.5), (ITERATIONS, {}, 3, 0.5), (EPOCHS, dict(begin=0.5, value=2.0), 4, 2.0),
    (EPOCHS, dict(begin=0), 0, 0.5), (ITERATIONS, dict(begin=1), 9, None)])
def test_weight_follows_from_the_iteration(tmp_path, loop, hook, zeros, value):
    """0.3 x 9 iterations are rounded to 3, 0.5 x 9 to the even 4."""
    assert mam(train(make(tmp_path, hook, train_cfg=loop))) == zeros * [0.0] + (9 - zeros) * [value]


def test_paper_begins_with_its_seventh_epoch():
    """Epoch 6 of 20, counted from 0, however many iterations an epoch has (in floats, 0.3 x 20 n may be above 6 n)."""
    for iterations in range(1, 700):
        assert round(LossWeightScheduleHook().begin * 20 * iterations) == 6 * iterations


def test_a_resumed_training_has_the_same_weights(tmp_path):
    with pytest.raises(Killed):
        train(make(tmp_path, dict(begin=0.5), kill=dict(epoch=1)))
    assert mam(train(make(tmp_path, dict(begin=0.5), resume=True))) == (4 * [0.0] + 5 * [0.5])[3:]


def test_an_unknown_loss_ends_in_one_line(tmp_path):
    with pytest.raises(UserError, match='name=rcm: the model has loss_weights of cls, mam; choose one of these'):
        train(make(tmp_path, dict(name='rcm')))
    with pytest.raises(UserError, match='no loss'):
        train(toy_runner(tmp_path, custom_hooks=[dict(type='LossWeightScheduleHook')]))


@pytest.mark.parametrize('options', [dict(begin=-0.1), dict(begin=1.1), dict(value=-1)])
def test_wrong_arguments(options):
    with pytest.raises(ValueError, match='LossWeightScheduleHook: begin'):
        LossWeightScheduleHook(**options)
