import pytest
from mmengine.hooks import Hook
from toy_runner import Killed, same, toy_runner, train, weights

from mmwsss.engine import IterLimitedTrainLoop


class Watch(Hook):
    """What was trained on, and at which rate."""

    def __init__(self):
        self.batches, self.rates = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append((runner.epoch, batch_idx))
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])


def runner_for(work_dir, max_iters, **overrides):
    watch = Watch()
    schedule = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)]
    runner = toy_runner(work_dir, train_cfg=dict(type='IterLimitedTrainLoop', max_iters=max_iters),
                        param_scheduler=schedule, **overrides)
    runner.register_hook(watch)
    return runner, watch


@pytest.mark.parametrize(('max_iters', 'epochs'), [(2, 1), (3, 1), (7, 3), (9, 3)])
def test_ends_after_so_many_iterations(tmp_path, max_iters, epochs):
    runner, watch = runner_for(tmp_path, max_iters)  # 10 images, batches of 4: 3 iterations an epoch
    train(runner)
    assert isinstance(runner.train_loop, IterLimitedTrainLoop)
    assert watch.batches == [(i // 3, i % 3) for i in range(max_iters)]
    assert runner.iter == runner.max_iters == max_iters and runner.max_epochs == epochs
    # MMEngine's schedule reaches the end with the last iteration.
    assert watch.rates == pytest.approx([0.1 * (1 - i / (max_iters - 1)) ** 0.9 for i in range(max_iters)])
    assert (tmp_path / f'epoch_{epochs}.pth').exists() and not (tmp_path / f'epoch_{epochs + 1}.pth').exists()


def test_a_killed_training_ends_in_the_same_weights(tmp_path):
    expected = weights(train(runner_for(tmp_path / 'whole', 7)[0]).model)
    with pytest.raises(Killed):
        train(runner_for(tmp_path / 'killed', 7, kill=dict(iteration=5))[0])
    runner, watch = runner_for(tmp_path / 'killed', 7, resume=True)
    assert same(weights(train(runner).model), expected)
    assert watch.batches == [(1, 0), (1, 1), (1, 2), (2, 0)]
    finished, watch = runner_for(tmp_path / 'killed', 7, resume=True)
    assert same(weights(train(finished).model), expected) and not watch.batches


def test_like_the_loop_by_epochs_when_no_epoch_is_cut(tmp_path):
    schedule = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=9, by_epoch=False)]
    theirs = train(toy_runner(tmp_path / 'theirs', param_scheduler=schedule))
    assert same(weights(train(runner_for(tmp_path / 'ours', 9)[0]).model), weights(theirs.model))


@pytest.mark.parametrize('max_iters', [0, -1, 2.5])
def test_bad_number(max_iters):
    with pytest.raises(ValueError, match='IterLimitedTrainLoop: max_iters'):
        IterLimitedTrainLoop(None, None, max_iters)
