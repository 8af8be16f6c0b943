import io
import json

import pytest
from rich.console import Console

from mmwsss.experiments.comparison.compare import Comparison
from mmwsss.experiments.comparison.compare_table import (
    comparison_markdown,
    comparison_notes,
    comparison_tables,
    rich_tables,
)


def row(value, metric='mIoU', note='train', oracle=False, unit='%'):
    return dict(metric=metric, value=value, unit=unit, note=note, oracle=oracle)


@pytest.fixture
def make(make_work_dir, tmp_path):
    return lambda name, stages, report=True: make_work_dir(tmp_path / name, stages, report)


@pytest.fixture
def comparison(make):
    """Two seeds of a baseline, three of SEAM, of which one has not come to its end, and a pipeline without masks."""
    def stages(cam, label, **others):
        def evaluated(value, images, **more):
            return dict(metrics=[row(value, **more)], metrics_json=dict(
                num_images=images, oracle_threshold='oracle' in more, per_class={'c|t': value / 100, 'dog': None}))
        return {'train': dict(seconds=90.), 'eval_cam': evaluated(cam, 12, note='train, threshold 0.4', oracle=True),
                **others, 'eval_label': evaluated(label, 12)}

    walk = {'walk': dict(seconds=5., skipped=[['a.jpg', 'broken\nfile'], ['b.jpg', 'gone']])}
    half = {**stages(49., 1., **walk), 'eval_label': None}
    blind = {'eval_cam': dict(metrics=[row(None, note='not evaluated: no masks')]),
             'eval_label': dict(metrics=[row(30., note='val')], metrics_json=dict(num_labels=7)),
             'speed': dict(metrics=[row(.12345, 'time', '', unit='s/image')])}
    return Comparison({'base': [make('b0', stages(40., 50.)), make('b1', stages(42., 50.))],
                       'seam': [make('s0', stages(47., 55., **walk)), make('s1', stages(48., 56.5, **walk)),
                                make('s2', half, report=False)],
                       '[red]<b>': [make('x', blind)]}, per_class='eval_cam')


def test_figures_and_times_as_text(comparison):
    figures, classes, times = comparison_tables(comparison)
    names = ('base (2 seeds)', 'seam (3 seeds)', '[red]<b>')
    assert figures.header == ('Stage', 'Metric', *names) and figures.align == 'llrrr'
    assert figures.rows == [
        ('eval_cam', 'mIoU % (train, oracle)', '41.00 ± 1.41', '48.00 ± 1.00 (+7.00)', '-'),
        ('eval_label', 'mIoU % (train)', '50.00 ± 0.00', '55.75 ± 1.06, n = 2 (+5.75)', '-'),
        ('', 'mIoU % (val)', '-', 'missing', '30.00'),
        ('speed', 'time s/image', '', 'missing', '0.1235')]
    assert classes.title == 'Classes of eval_cam' and classes.header == ('Class', 'Metric', *names)
    assert classes.rows == [('c|t', 'IoU % (oracle)', '41.00 ± 1.41', '48.00 ± 1.00 (+7.00)', '-'),
                            ('dog', 'IoU % (oracle)', '-', '-', '-')]
    assert times.header == ('Stage', *names)
    assert times.rows == [
        ('train', '1 min 30 s', '1 min 30 s', ''), ('eval_cam', '1.5 s', '1.5 s', '1.5 s'),
        ('walk', '', '5.0 s', ''), ('eval_label', '1.5 s', '1.5 s', '1.5 s'), ('speed', '', 'missing', '1.5 s'),
        ('all stages', '1 min 33 s', '>= 1 min 38 s', '4.5 s')]


def test_notes_say_what_is_behind_the_figures(comparison, tmp_path):
    notes = comparison_notes(comparison)
    text = '\n'.join(notes)
    for words in (
            'mean ± standard deviation (n - 1)', 'difference of the mean to that of base', 'oracle: chosen on',
            'missing: the stage is not complete; -: not measured; empty: the pipeline has no such stage.',
            f'seam ({tmp_path}/s2): not complete (failed, interrupted, still running or deleted): eval_label.',
            f'seam ({tmp_path}/s2): has not run to its end (there is no report.json)',
            'seam: 6 files left out in 3 seeds together (walk 6), e.g. a.jpg: broken file.',
            '[red]<b>: eval_cam: mIoU was not measured: not evaluated: no masks.',
            'eval_label: evaluated on different numbers of images (base 12, seam 12, [red]<b> 7)'):
        assert words in text
    assert text.count('evaluated on different') == 1 and len(notes) == text.count('\n') + 1


def test_notes_are_only_what_is_needed(make):
    one = Comparison(dict(a=[make('a', {'eval': dict(metrics=[row(40.)])})]))
    assert comparison_notes(one) == []
    assert comparison_tables(one)[0].rows == [('eval', 'mIoU % (train)', '40.00')] and len(comparison_tables(one)) == 2


def test_notes_on_times_of_stages_that_were_interrupted(make, tmp_path):
    folder = make('a', {'eval': dict(metrics=[row(40.)])})
    marker = json.loads((folder / 'eval/complete.json').read_text())
    for runs, text in ((3, 'all its runs together.'),
                       (None, 'from where it went on, where an earlier version has run it.')):
        marker.pop('runs')
        marker |= {} if runs is None else dict(runs=runs)
        (folder / 'eval/complete.json').write_text(json.dumps(marker))
        assert comparison_notes(Comparison(dict(a=[folder]))) == [
            f'Wall time: of a stage that was interrupted, {text}']


def test_notes_of_later_runs_and_of_seeds_that_differ(make, tmp_path):
    whole = {'eval': dict(metrics=[row(40.)]), 'label': {}}
    rerun = make('rerun', whole)
    (rerun / 'label/complete.json').unlink()
    short = make('short', {'eval': dict(metrics=[row(40.)])})
    comparison = Comparison(dict(a=[make('a', whole), short], b=[rerun]))
    text = '\n'.join(comparison_notes(comparison))
    assert f'a ({short}): does not have what other seeds have: label.' in text
    assert f'b ({rerun}): stages were begun again since report.json' in text and 'no report.json' not in text
    times = comparison_tables(comparison)[-1]
    assert times.rows[-2:] == [('label', '1.5 s', 'missing'), ('all stages', '3.0 s', '>= 1.5 s')]


def test_markdown_is_made_of_whole_tables(comparison):
    text = comparison_markdown(comparison)
    blocks = [block.splitlines() for block in text.split('\n\n')]
    tables = [block for block in blocks if block[0].startswith('|')]
    assert [len(table) - 2 for table in tables] == [4, 2, 6]
    for table, count in zip(tables, (5, 5, 4)):
        assert len({len(line) for line in table}) == 1
        assert {line.replace(r'\|', '').count('|') for line in table} == {count + 1}
        assert set(table[1]) == set('|-: ')
    assert [line for line in text.splitlines() if line.startswith('#')] == [
        '## Comparison of pipelines', '### Stage by stage', '### Classes of eval_cam', '### Wall time']
    assert all(line.startswith('- ') for line in blocks[-1])
    assert len(blocks[-1]) == len(comparison_notes(comparison))


def render(table, width):
    console = Console(file=io.StringIO(), width=width)
    parts = rich_tables(table, width)
    for part in parts:
        console.print(part)
    return len(parts), console.file.getvalue()


def test_terminal_that_is_too_narrow_gets_parts(comparison):
    table = comparison_tables(comparison)[0]
    count, text = render(table, 200)
    assert count == 1 and all(cell in text for row in (table.header, *table.rows) for cell in row)
    assert 'continued' not in text
    needed = max(map(len, text.splitlines()))
    assert render(table, needed)[0] == 1 and render(table, needed - 1)[0] == 2
    count, text = render(table, 80)
    assert count == 2 and text.count('Stage by stage, continued') == 1
    assert all(text.count(cell) >= 1 for row in (table.header, *table.rows) for cell in row)
    assert max(map(len, text.splitlines())) <= 80
    assert render(table, 20)[0] == 3, 'one pipeline at least in each part'
