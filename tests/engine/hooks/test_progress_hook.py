import atexit
import io
import re
import sys

import pytest
from mmengine.hooks import Hook
from toy_runner import Killed, toy_runner, train

from mmwsss.engine.hooks import ProgressHook, progress_hook


class Terminal(io.StringIO):

    def isatty(self):
        return True


def open_terminal(monkeypatch):
    # Not a fixture: pytest sets the streams anew between setting up and calling a test.
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '100')
    monkeypatch.delenv('NO_COLOR', raising=False)
    monkeypatch.setattr(ProgressHook, 'REFRESH_SECONDS', 0.)
    monkeypatch.setattr(sys, 'stderr', Terminal())
    monkeypatch.setattr(sys, 'stdout', Terminal())
    return sys.stderr


def shown(terminal):
    return re.findall(r'(\d+)/(\d+)', re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', terminal.getvalue()))


class Log(Hook):

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.logger.error('a line of the log')


def test_training(tmp_path, monkeypatch):
    terminal = open_terminal(monkeypatch)
    progress = ProgressHook()
    stdout = sys.stdout
    runner = toy_runner(tmp_path, custom_hooks=[Log(), progress], train_cfg=dict(by_epoch=True, max_epochs=2))
    handler = runner.logger.handlers[0]
    assert handler.stream is stdout
    train(runner)
    counts = [int(done) for done, total in shown(terminal) if total == '6']
    assert counts == sorted(counts) and set(counts) == set(range(7))
    assert 'train' in terminal.getvalue() and '0:00:0' in terminal.getvalue()
    assert terminal.getvalue().count('a line of the log') == 6  # above the bar, not through it
    assert handler.stream is stdout and sys.stderr is terminal
    assert '\x1b[?25h' in terminal.getvalue()  # the cursor is back


def test_resumed_training_starts_where_it_stood(tmp_path, monkeypatch):
    terminal = open_terminal(monkeypatch)
    with pytest.raises(Killed):
        train(toy_runner(tmp_path, kill=dict(epoch=2)))
    train(toy_runner(tmp_path, custom_hooks=[ProgressHook()], resume=True))
    assert shown(terminal)[0] == ('6', '9') and shown(terminal)[-1] == ('9', '9')


def test_cursor_comes_back_after_an_error(tmp_path, monkeypatch):
    terminal = open_terminal(monkeypatch)
    at_exit = []
    monkeypatch.setattr(atexit, 'register', at_exit.append)
    with pytest.raises(Killed):
        train(toy_runner(tmp_path, custom_hooks=[ProgressHook()], kill=dict(iteration=1)))
    assert not terminal.getvalue().endswith('\x1b[?25h')
    for function in at_exit:
        function()
    assert '\x1b[?25h' in terminal.getvalue() and sys.stderr is terminal


def test_testing(tmp_path, monkeypatch):
    terminal = open_terminal(monkeypatch)
    loader = dict(dataset=dict(type='ToyDataset', length=5), sampler=dict(type='DefaultSampler', shuffle=False),
                  batch_size=2, num_workers=0)
    toy_runner(tmp_path, custom_hooks=[ProgressHook()], test_dataloader=loader, test_cfg=dict(),
               test_evaluator=[]).test()
    assert {total for _, total in shown(terminal)} == {'3'} and shown(terminal)[-1] == ('3', '3')


@pytest.mark.parametrize('reason', ['no terminal', 'another rank'])
def test_shows_nothing(tmp_path, monkeypatch, reason):
    open_terminal(monkeypatch)
    if reason == 'no terminal':
        monkeypatch.setattr(sys, 'stderr', io.StringIO())
    else:
        monkeypatch.setattr(progress_hook, 'is_main_process', lambda: False)
    train(toy_runner(tmp_path, custom_hooks=[ProgressHook()]))
    assert '/9' not in sys.stderr.getvalue()
