import os
import subprocess
import sys

import pytest

from mmwsss.cli import convert, draw
from mmwsss.cli.main import COMMANDS, load_command, main, make_parser
from mmwsss.version import __version__

HEAVY = ('torch', 'mmengine', 'mmseg', 'numpy', 'cv2', 'rich')


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return (stop.value.code, *capsys.readouterr())


def in_a_process(repo_root, *arguments):
    environment = dict(os.environ, PYTHONPATH=str(repo_root))
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=120,
                          check=False)


def test_help_is_answered_without_torch(repo_root):
    """Of the command and of every sub-command, in one process that says what was imported."""
    words = [[name] for name in COMMANDS] + [[group, name] for group, module in (('draw', draw), ('convert', convert))
                                             for name in module.COMMANDS]
    script = f'''
import sys
from mmwsss.cli.main import main
for words in {[[], *words]!r}:
    try:
        main([*words, '--help'])
    except SystemExit as stop:
        assert stop.code == 0, words
assert not set(sys.modules) & set({HEAVY!r}), set(sys.modules) & set({HEAVY!r})
'''
    done = in_a_process(repo_root, '-c', script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('usage: mmwsss') == 1 + len(words)


def test_help_takes_less_than_a_second(repo_root):
    """Of processor time, beyond what the interpreter itself takes here."""
    def seconds(*arguments):
        before = os.times()
        done = in_a_process(repo_root, *arguments)
        after = os.times()
        assert done.returncode == 0, done.stderr
        return after.children_user + after.children_system - before.children_user - before.children_system
    assert seconds('-m', 'mmwsss', 'train', '--help') - seconds('-c', '') < 1


def test_commands_are_listed_and_those_of_the_package(capsys):
    code, out, _ = run(['--help'], capsys)
    assert code == 0 and all(name in out and text.split()[0] in out for name, text in COMMANDS.items())
    for name in COMMANDS:
        assert load_command(name).DESCRIPTION
    assert run(['--version'], capsys)[:2] == (0, f'mmwsss {__version__}\n')


@pytest.mark.parametrize(('words', 'message'), [
    ([], 'COMMAND'), (['trian'], "invalid choice: 'trian'"), (['train'], 'CONFIG'), (['draw'], 'PICTURE'),
    (['convert', 'x'], 'invalid choice'), (['configs', '--nope'], '--nope'),
    (['label', 'cam', '--out-dir', 'x', '--threshold', 'much'], "'much' is neither a number nor auto")])
def test_mistakes_are_argparse_s(words, message, capsys):
    code, _, err = run(words, capsys)
    assert code == 2 and message in err.splitlines()[-1]


def test_sub_commands_of_a_command_run(capsys, tmp_path):
    code, _, err = run(['draw', 'prototypes', str(tmp_path / 'absent.pth'), '--out', 'x.png'], capsys)
    assert code == 1 and 'absent.pth: no such checkpoint' in err and err.count('\n') == 1


def test_the_process_itself(repo_root, tmp_path):
    done = in_a_process(repo_root, '-m', 'mmwsss', 'configs', 'ssa')
    assert done.returncode == 0 and 'ssa/ssa_r50_small.py' in done.stdout.splitlines()


def test_only_the_chosen_command_is_imported():
    before = dict(sys.modules)
    try:
        for name in [name for name in sys.modules if name.startswith('mmwsss.cli.')]:
            del sys.modules[name]
        make_parser(['configs', '--paths']).parse_args(['configs', '--paths'])
        assert 'mmwsss.cli.configs' in sys.modules and 'mmwsss.cli.train' not in sys.modules
    finally:
        sys.modules.update(before)
