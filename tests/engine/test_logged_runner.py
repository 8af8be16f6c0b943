import sys

import pytest
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from toy_runner import toy_runner, train

from mmwsss.engine import logged_runner
from mmwsss.engine.logged_runner import ALL, PROGRESS, WARNINGS, LoggedRunner, console_shows
from mmwsss.utils.console import StepLine


class Warn(Hook):

    def after_train_epoch(self, runner):
        runner.logger.warning('something to know')


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Trains the toy model with a level; returns (stdout, stderr, the run's own log)."""
    monkeypatch.setattr('toy_runner.Runner', LoggedRunner)

    def run(level, name='run', log_file=None):
        with console_shows(level, log_file):
            runner = toy_runner(tmp_path / name, log_level='INFO', custom_hooks=[Warn()],
                                train_cfg=dict(by_epoch=True, max_epochs=1),
                                default_hooks=dict(logger=dict(type='LoggerHook', interval=1)))
            train(runner)
        own, = (tmp_path / name).glob('*/*.log')
        return *capsys.readouterr(), own.read_text()
    return run


@pytest.mark.parametrize(('level', 'environment', 'progress'), [
    (ALL, True, True), (PROGRESS, False, True), (WARNINGS, False, False)])
def test_what_the_terminal_shows(run, level, environment, progress, tmp_path):
    out, err, log = run(level)
    assert ('System environment' in out, 'Epoch(train)' in out) == (environment, progress)
    assert out.count('something to know') == 1
    assert all(word in log for word in ('System environment', 'Epoch(train)', 'something to know'))
    path = next((tmp_path / 'run').glob('*/*.log'))
    assert (err == f'log: {path}\n') == (level == PROGRESS)


def test_one_file_has_the_log_of_all_runs(run, tmp_path):
    shared = tmp_path / 'folder/all.log'
    for name in 'first', 'second':
        run(WARNINGS, name, shared)
    text = shared.read_text()
    assert text.count('System environment') == 2 and text.count('something to know') == 2
    MMLogger.get_current_instance().info('later')
    assert 'later' not in shared.read_text()
    assert logged_runner._shared_file is None


def test_a_warning_does_not_stand_behind_the_title_of_a_step(run, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', sys.stdout)  # both in one, as on a terminal
    with StepLine('step') as line:
        out, _, _ = run(WARNINGS)
        line.result = 'done'
    assert out.splitlines()[0] == 'step ...' and out.count('step') == 1 and 'something to know' in out
    assert capsys.readouterr().out == 'step, done\n'


def test_unknown_level():
    with pytest.raises(ValueError, match='level must be one of'), console_shows('loud'):
        pass
