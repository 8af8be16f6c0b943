import sys

import pytest

from mmwsss.cli.run_cli import run_cli


@pytest.fixture
def tool(load_tool, make_work_dir, tmp_path, monkeypatch, capsys):
    """Runs the tool in this process, beside some work folders: (exit code, stdout, stderr)."""
    module = load_tool('compare.py')
    for name, value in (('base', 40.), ('seam_seed0', 42.), ('seam_seed1', 44.)):
        make_work_dir(tmp_path / 'work' / name, {'train': {}, 'eval': dict(
            metrics=[dict(metric='mIoU', value=value, unit='%', note='val')],
            metrics_json=dict(per_class=dict(cat=value / 100), oracle_threshold=False))})
    make_work_dir(tmp_path / 'work/half', {'train': {}, 'eval': None}, report=False)
    (tmp_path / 'work/study/base/seed0').mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'work')
    monkeypatch.setenv('COLUMNS', '100')

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['compare.py', *arguments])
        with pytest.raises(SystemExit) as stop:
            run_cli(module.main)
        return stop.value.code, *capsys.readouterr()
    return run


def test_tables_are_shown_and_written(tool, tmp_path):
    code, out, err = tool('base', 'seam=seam_seed*', '--per-class', 'eval', '--out', 'new/table.md', '--html',
                          'table.HTML')
    assert (code, err) == (0, '')
    assert '43.00 ± 1.41 (+3.00)' in out and 'Classes of eval' in out
    assert 'difference of the mean to that of base' in out
    assert 'written: new/table.md' in out and 'written: table.HTML' in out
    for name in ('new/table.md', 'table.HTML'):
        assert '43.00 ± 1.41 (+3.00)' in (tmp_path / 'work' / name).read_text(encoding='utf-8')
    code, out, _ = tool('base', 'seam=seam_seed0,seam_seed1', '--baseline', 'seam')
    assert code == 0 and '40.00 (-3.00)' in out and '43.00 ± 1.41 (' not in out


def test_a_table_with_holes_has_an_exit_code_of_its_own(tool):
    code, out, _ = tool('base', 'half')
    assert code == 3 and 'missing' in out and 'half (half): not complete' in out


@pytest.mark.parametrize(('arguments', 'word'), [
    (['base', 'nowhere'], 'nowhere: no such folder'), (['base', 'study'], 'belongs to a study'),
    (['base', '../work/base'], 'given twice for base'), (['x=none*'], 'no folder matches none*'),
    (['half'], 'nothing to compare'), (['base', '--baseline', 'x'], '--baseline x'),
    (['base', '--per-class', 'train'], 'there are eval'),
    (['base', '--out', 'a.txt'], '--out a.txt: the name must end'),
    (['base', '--html', 'a.md'], '--html a.md: the name must end')])
def test_mistakes_end_in_one_line(tool, arguments, word):
    code, out, err = tool(*arguments)
    assert code == 1 and out == '' and word in err and len(err.splitlines()) == 1


def test_damaged_marker_ends_in_one_line(tool, tmp_path):
    (tmp_path / 'work/base/eval/complete.json').write_text('{"key":')
    code, _, err = tool('base')
    assert code == 1 and 'base/eval/complete.json: damaged' in err and len(err.splitlines()) == 1
