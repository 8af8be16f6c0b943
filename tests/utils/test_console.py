import io
import re
import sys

import pytest
from rich.table import Table

from mmwsss.utils.console import StepLine, current_step, make_console
from mmwsss.utils.parallel import progress_bar


@pytest.mark.parametrize('name', ['[/b]', '[b]', '[bold]cat[/bold]', ':smile:', '[link=x]', r'\[b]'])
def test_text_is_never_markup(name, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    table = Table(title=f'title {name}')
    table.add_column(f'column {name}', footer=name)
    table.add_row(name)
    make_console().print(table)
    make_console().print(name)
    assert capsys.readouterr().out.count(name) == 4


def test_tables_in_a_pipe_are_not_cut(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '20')
    table = Table('stage')
    table.add_row('a_stage_with_a_name_that_is_long')
    make_console().print(table)
    assert 'a_stage_with_a_name_that_is_long' in capsys.readouterr().out


class Terminal(io.StringIO):

    def isatty(self):
        return True


def visible(text):
    """What is on the screen: a line that is written over is gone."""
    return [re.split(r'\r\x1b\[2K|\r', line)[-1] for line in text.split('\n')]


@pytest.mark.parametrize('stream', [io.StringIO, Terminal])
@pytest.mark.parametrize('result', ['3.1 s', ''])
def test_a_step_is_one_line(monkeypatch, stream, result):
    monkeypatch.setattr(sys, 'stderr', stream())
    assert current_step() is None
    with StepLine('[1/2] a: train') as line:
        assert current_step() is line
        line.result = result
    assert current_step() is None
    assert visible(sys.stderr.getvalue()) == ['[1/2] a: train' + (f', {result}' if result else ''), '']


@pytest.mark.parametrize('stream', [io.StringIO, Terminal])
def test_messages_stand_on_lines_of_their_own(monkeypatch, stream):
    monkeypatch.setattr(sys, 'stderr', stream())
    with pytest.raises(ValueError, match='x'), StepLine('a'):
        for message in 'first', 'second':
            current_step().interrupt()
            sys.stderr.write(message + '\n')
        raise ValueError('x')
    begin = [] if stream is Terminal else ['a ...']
    assert visible(sys.stderr.getvalue()) == [*begin, 'first', 'second', 'a, failed', '']


def test_other_processes_print_nothing(monkeypatch):
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    with StepLine('a', quiet=True) as line:
        line.result = 'done'
        assert current_step() is None
    assert sys.stderr.getvalue() == ''


def test_bars_have_the_title_of_their_step_and_go_away(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setattr(sys, 'stderr', Terminal())
    with StepLine('[1/2] a: cam') as line:
        with progress_bar() as bar:
            assert list(bar.track(range(3), description='images')) == [0, 1, 2]
        line.result = '1 s'
    text = sys.stderr.getvalue()
    assert '3/3' in text and 'images' not in text
    assert text.endswith('\r\x1b[2K[1/2] a: cam, 1 s\n') and text.count('\n') - text.count('\x1b[1A') == 1
