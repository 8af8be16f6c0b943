import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from toy_runner import toy_runner

from mmwsss.engine.loops import CAMTestLoop
from mmwsss.registry import METRICS
from mmwsss.utils.errors import UserError


@METRICS.register_module(name='Collecting', force=True)
class Collecting(BaseMetric):
    """Like IoUMetric, it fails without results."""
    default_prefix = 'collecting'

    def process(self, data_batch, data_samples):
        self.results += [sample['logits'].float() for sample in data_samples]

    def compute_metrics(self, results):
        return dict(count=len(results), sum=torch.stack(results).sum().item())


@METRICS.register_module(name='Owning', force=True)
class Owning(BaseMetric):
    """Reduces by itself, like CAMMetric."""
    default_prefix = 'owning'
    count = 0

    def process(self, data_batch, data_samples):
        self.count += len(data_samples)

    def compute_metrics(self, results):
        raise AssertionError('not used')

    def evaluate(self, size):
        return {'owning/count': self.count, 'owning/size': size}


class Stages(Hook):

    def __init__(self):
        self.stages, self.metrics, self.dtypes = [], None, set()

    def before_test(self, runner):
        self.stages.append('before_test')

    def before_test_epoch(self, runner):
        self.stages.append('before_test_epoch')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.stages.append(batch_idx)
        self.dtypes.add(outputs[0]['logits'].dtype)

    def after_test_epoch(self, runner, metrics=None):
        self.stages.append('after_test_epoch')
        self.metrics = metrics

    def after_test(self, runner):
        self.stages.append('after_test')


def runner_for(work_dir, length=5, metrics=('Owning', 'Collecting'), **test_cfg):
    loader = dict(dataset=dict(type='ToyDataset', length=length), batch_size=2, num_workers=0,
                  sampler=dict(type='DefaultSampler', shuffle=False, round_up=False))
    stages = Stages()
    torch.manual_seed(0)
    runner = toy_runner(work_dir, custom_hooks=[stages], test_dataloader=loader,
                        test_cfg=dict(**test_cfg), test_evaluator=[dict(type=name) for name in metrics])
    return runner, stages


def test_like_the_test_loop(tmp_path):
    ours, our_stages = runner_for(tmp_path, type='CAMTestLoop')
    theirs, their_stages = runner_for(tmp_path)
    metrics = ours.test()
    assert isinstance(ours.test_loop, CAMTestLoop)
    assert metrics == theirs.test()
    assert metrics['owning/count'] == metrics['owning/size'] == metrics['collecting/count'] == 5
    assert our_stages.stages == their_stages.stages == [
        'before_test', 'before_test_epoch', 0, 1, 2, 'after_test_epoch', 'after_test']
    assert our_stages.metrics == metrics


def test_bfloat16_on_the_cpu(tmp_path):
    full, stages = runner_for(tmp_path, type='CAMTestLoop')
    mixed, mixed_stages = runner_for(tmp_path, type='CAMTestLoop', amp='bfloat16')
    expected, result = full.test()['collecting/sum'], mixed.test()['collecting/sum']
    assert stages.dtypes == {torch.float32} and mixed_stages.dtypes == {torch.bfloat16}
    assert result != expected and result == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize('amp', ['bfloat16', None])
def test_weights_cast_once(tmp_path, amp):
    plain, _ = runner_for(tmp_path, type='CAMTestLoop', amp=amp)
    cast, _ = runner_for(tmp_path, type='CAMTestLoop', amp=amp, cast_weights=True)
    for runner in (plain, cast):
        runner.model.add_module('backbone', runner.model.conv2)
    assert cast.test() == plain.test()
    assert plain.model.conv2.weight.dtype == torch.float32
    assert cast.model.conv2.weight.dtype == (torch.bfloat16 if amp else torch.float32)


@pytest.mark.parametrize('amp', ['float16', 'int8'])
def test_precision_that_the_device_cannot_do(tmp_path, amp):
    if amp == 'float16' and torch.cuda.is_available():
        pytest.skip('the GPU can')
    runner, _ = runner_for(tmp_path, type='CAMTestLoop', amp=amp)
    with pytest.raises(UserError, match=amp):
        runner.test()


@pytest.mark.parametrize('hooks', [(), ('ProgressHook', 'ChannelsLastHook')])
def test_nothing_left_to_do(tmp_path, hooks):
    runner, stages = runner_for(tmp_path, type='CAMTestLoop', length=0)
    for hook in hooks:
        runner.register_hook(dict(type=hook))
    assert runner.test() == {'owning/count': 0, 'owning/size': 0}
    assert stages.stages == ['before_test', 'before_test_epoch', 'after_test_epoch', 'after_test']


def test_rank_without_a_batch(tmp_path, monkeypatch):
    # Another rank has batches: metrics that collect are asked, since they collect from all ranks.
    runner, _ = runner_for(tmp_path, type='CAMTestLoop', length=0)
    monkeypatch.setattr('mmwsss.engine.loops.all_reduce', lambda count: count.add_(3))
    monkeypatch.setattr(METRICS.get('Collecting'), 'compute_metrics', lambda self, results: dict(count=3))
    assert runner.test() == {'owning/count': 0, 'owning/size': 0, 'collecting/count': 3}
