import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import Registry
from warm_python import warm_python

from mmwsss.cli.run_cli import run_cli
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json


def outcome(main, capsys):
    with pytest.raises(SystemExit) as exit:
        run_cli(main)
    captured = capsys.readouterr()
    return exit.value.code, captured.err


def raising(error):

    def main():
        raise error

    return main


@pytest.mark.parametrize('result, code', [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_exit_codes(capsys, result, code):
    assert outcome(lambda: result, capsys) == (code, '')


def test_mistake_of_the_user(capsys):
    assert outcome(raising(UserError('a.jpg: not readable')), capsys) == (1, 'error: a.jpg: not readable\n')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR,
                                    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG])
def test_place_that_cannot_be_written(capsys, number):
    code, text = outcome(raising(OSError(number, os.strerror(number), 'out/a.npz')), capsys)
    assert code == 1 and text.count('\n') == 1
    assert 'out/a.npz' in text and os.strerror(number) in text


def test_full_disk_without_a_name(capsys):
    code, text = outcome(raising(OSError(errno.ENOSPC, 'No space left on device')), capsys)
    assert code == 1 and text.startswith('error: cannot write a file: No space left')


def test_interruption(capsys):
    code, text = outcome(raising(KeyboardInterrupt()), capsys)
    assert code == 130 and text.count('\n') == 1 and 'resume' in text


def test_interruption_that_a_library_hid(capsys):
    # MMEngine formats the config for every checkpoint, with a bare except around it.
    def main():
        try:
            raise KeyboardInterrupt
        except:  # noqa: E722
            raise SyntaxError('Failed to format the config file')  # noqa: B904

    code, text = outcome(main, capsys)
    assert code == 130 and text.count('\n') == 1 and 'resume' in text


class Part:
    def __init__(self, size=1, name=None):
        self.size = int(size)
        if name is not None:
            name.lower()
            look_up({}, name)


def look_up(table, name):
    return table[name]


@pytest.mark.parametrize('config, words', [
    (dict(type='Nope'), ['Nope is not in the']), (dict(size=1), ['"type"']),
    (dict(type='Part', sise=1), ['cannot build Part', "'sise'", 'TypeError']),
    (dict(type='Part', size='x'), ['cannot build Part', "'x'", 'ValueError in test_run_cli.py']),
    (dict(type='Part', name=3), ['cannot build Part', 'AttributeError']),
])
def test_config_that_cannot_be_built(capsys, config, words):
    parts = Registry('part', scope='mmwsss')
    parts.register_module(module=Part)
    code, text = outcome(lambda: parts.build(config), capsys)
    assert code == 1 and text.count('\n') == 1 and all(word in text for word in ['--cfg-options', *words])


def test_defect_inside_a_part_keeps_its_traceback():
    parts = Registry('part')
    parts.register_module(module=Part)
    with pytest.raises(KeyError):
        run_cli(lambda: parts.build(dict(type='Part', name='a')))


@pytest.mark.parametrize('error', [ValueError('defect'), OSError(errno.EIO, 'broken disk'), FileNotFoundError('x')])
def test_defects_keep_their_traceback(error):
    with pytest.raises(type(error)) as raised:
        run_cli(raising(error))
    assert raised.value is error


def test_a_place_where_nothing_can_be_made(capsys, tmp_path):
    for make in (lambda: Path('/proc/foo').mkdir(), lambda: os.makedirs('/proc/foo/bar', exist_ok=True),
                 lambda: Path('/proc/foo').mkdir(parents=True, exist_ok=True), lambda: write_json('/proc/foo', 1)):
        code, text = outcome(make, capsys)
        assert code == 1 and text.startswith('error: cannot use /proc/foo: No such file') and text.count('\n') == 1
    # Defects: files that are not there, folders below a missing one.
    for defect in ((tmp_path / 'a').read_text, (tmp_path / 'a/b').mkdir, lambda: (tmp_path / 'a/b').write_text('')):
        with pytest.raises(FileNotFoundError):
            run_cli(defect)


@pytest.mark.parametrize('count', [3, 100_000])  # what a buffer holds, and more
@pytest.mark.parametrize('body', ['print(i)', 'print(i, flush=True)', 'print(i, file=sys.stderr)'])
def test_a_reader_that_has_gone(tmp_path, count, body):
    script = (f'import sys, time\ndef main():\n    sys.stdin.read()\n    for i in range({count}):\n        {body}')
    tool = run_script(tmp_path, script, stdin=subprocess.PIPE)
    is_out = 'stderr' not in body
    gone, other = (tool.stdout, tool.stderr) if is_out else (tool.stderr, tool.stdout)
    gone.close()
    tool.stdin.close()
    assert other.read() == '' and tool.wait(timeout=30) == 1


def test_a_broken_pipe_of_ours_is_a_defect(tmp_path):
    tool = run_script(tmp_path, 'def main():\n    raise BrokenPipeError(32, "Broken pipe")')
    _, text = tool.communicate(timeout=30)
    assert tool.returncode == 1 and 'Traceback' in text


def run_script(tmp_path, body, python=sys.executable, **kwargs):
    script = tmp_path / 'tool.py'
    script.write_text('from mmwsss.cli.run_cli import run_cli\nfrom mmwsss.utils.errors import UserError\n'
                      f'{body}\nrun_cli(main)\n')
    return subprocess.Popen([python, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                            # A test run in the background of a shell ignores it, and so would its children.
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **kwargs)


def test_ctrl_c_of_a_process(tmp_path):
    tool = run_script(tmp_path, 'import time\ndef main():\n    print("on", flush=True)\n    time.sleep(60)')
    assert tool.stdout.readline() == 'on\n'
    tool.send_signal(signal.SIGINT)
    _, text = tool.communicate(timeout=30)
    assert tool.returncode == 130
    assert text == 'interrupted: run the same command again to resume (mmwsss train: with --resume).\n'


def test_mistake_that_a_data_worker_finds(tmp_path):
    # A data loader raises it again in the main process, with the worker's traceback as its message.
    tool = run_script(tmp_path, '''
from torch.utils.data import DataLoader

class Data:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise UserError('a.jpg: cannot be read; replace it')

def main():
    list(DataLoader(Data(), num_workers=1))
''', warm_python())
    _, text = tool.communicate(timeout=60)
    assert tool.returncode == 1
    assert text == 'error: a.jpg: cannot be read; replace it\n'
