import pytest
import torch
import torch.distributed
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from toy_runner import same, toy_runner, train, weights

from mmwsss.registry import METRICS


def is_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last)


class Look(Hook):
    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def _look(self, runner):
        model = runner.model
        self.seen.append((is_last(model.conv.weight), is_last(model.seen['inputs']), is_last(model.seen['features']),
                          len(model.data_preprocessor._forward_hooks)))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._look(runner)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._look(runner)

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._look(runner)


@METRICS.register_module(name='Sink', force=True)
class Sink(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {}


def loader():
    return dict(dataset=dict(type='ToyDataset', length=3), sampler=dict(type='DefaultSampler', shuffle=False),
                batch_size=3, num_workers=0)


def run(folder, *hooks):
    return toy_runner(
        folder, custom_hooks=[dict(type='SeedHook'), *hooks], train_cfg=dict(by_epoch=True, max_epochs=2),
        val_cfg=dict(), val_dataloader=loader(), val_evaluator=dict(type='Sink'),
        test_cfg=dict(), test_dataloader=loader(), test_evaluator=dict(type='Sink'))


def test_weights_and_batches_are_channels_last_while_a_run_lasts(tmp_path):
    look = Look()
    runner = run(tmp_path, dict(type='ChannelsLastHook'), look)
    assert not is_last(runner.model.conv.weight)
    train(runner)
    assert look.seen == [(True, True, True, 1)] * (2 * 3 + 2)
    assert not runner.model.data_preprocessor._forward_hooks
    for start in (runner.test, runner.val, runner.test):
        look.seen.clear()
        start()
        assert look.seen == [(True, True, True, 1)]
        assert not runner.model.data_preprocessor._forward_hooks


def test_same_start_and_nearly_the_same_training(tmp_path):
    # The layout changes the order of sums, so weights differ by rounding; a conversion before initialisation
    # would draw other weights.
    last, first = train(run(tmp_path / 'a', dict(type='ChannelsLastHook'))), train(run(tmp_path / 'b'))
    last, first = weights(last.model), weights(first.model)
    for key in first:
        torch.testing.assert_close(last[key], first[key], rtol=1e-3, atol=1e-5)


def test_checkpoint_loads_without_the_hook(tmp_path):
    trained = train(run(tmp_path, dict(type='ChannelsLastHook')))
    plain = toy_runner(tmp_path)
    plain.load_checkpoint(str(tmp_path / 'epoch_2.pth'))
    assert same(weights(plain.model), weights(trained.model))
    assert plain.model.conv.weight.is_contiguous()


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('find_unused', [False, True])
def test_a_distributed_training_has_the_gradients_of_a_plain_one(tmp_path, process_group, find_unused):
    plain = train(run(tmp_path / 'plain', dict(type='ChannelsLastHook')))
    wrapped = run(tmp_path / 'wrapped', dict(type='ChannelsLastHook'))
    wrapped.model = MMDistributedDataParallel(wrapped.model, find_unused_parameters=find_unused)
    train(wrapped)
    expected, found = weights(plain.model), weights(wrapped.model.module)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-3, atol=1e-5)
    wrapped.test()
    assert is_last(wrapped.model.module.conv.weight)
