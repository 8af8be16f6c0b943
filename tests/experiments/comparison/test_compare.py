import numpy as np
import pytest

from mmwsss.experiments.comparison.compare import Comparison
from mmwsss.experiments.comparison.compare_table import comparison_tables
from mmwsss.utils.errors import UserError


def row(value, metric='mIoU', note='train', oracle=False, unit='%'):
    return dict(metric=metric, value=value, unit=unit, note=note, oracle=oracle)


def figures(*rows, seconds=1., **others):
    return dict(metrics=list(rows), seconds=seconds, **others)


@pytest.fixture
def make(make_work_dir, tmp_path):
    return lambda name, stages, report=True: make_work_dir(tmp_path / name, stages, report)


def cells(lines, name, metric='mIoU'):
    line, = (line for line in lines if (line.name, line.measure.metric) == (name, metric))
    return line.cells


@pytest.fixture
def values():
    generator = np.random.default_rng(0)
    return generator.normal(45, 4, 4), generator.normal(50, 4, 3)


@pytest.fixture
def comparison(make, values):
    base, seam = values
    threshold = row(0.0, oracle=True)
    sources = {
        'base': [make(f'base{i}', {'cam': dict(seconds=10. + i), 'eval_cam': figures(dict(threshold, value=value)),
                                   'seg': figures(row(value / 2, note='val'), row(3, 'count', '', unit=''))})
                 for i, value in enumerate(base)],
        'seam': [make(f'seam{i}', {'cam': dict(seconds=20.), 'eval_cam': figures(dict(threshold, value=value)),
                                   'walk': dict(seconds=5.), 'eval_walk': figures(row(value + 1)),
                                   'seg': figures(row(value / 2, note='val'))}) for i, value in enumerate(seam)]}
    return Comparison(sources)


def test_mean_and_spread_are_those_of_numpy(comparison, values):
    found = cells(comparison.metrics, 'eval_cam')
    for name, expected in zip(('base', 'seam'), values):
        assert found[name].state == 'measured' and len(found[name].values) == len(expected)
        assert found[name].mean == pytest.approx(expected.mean())
        assert found[name].std == pytest.approx(np.std(expected, ddof=1))
    base, seam = values
    assert found['base'].difference is None
    assert found['seam'].difference == pytest.approx(seam.mean() - base.mean())
    seg = cells(comparison.metrics, 'seg')
    assert seg['seam'].difference == pytest.approx((seam.mean() - base.mean()) / 2)


def test_lines_keep_the_order_of_the_pipelines(comparison):
    assert comparison.stages == ['cam', 'eval_cam', 'walk', 'eval_walk', 'seg']
    assert [(line.name, *line.measure[:4]) for line in comparison.metrics] == [
        ('eval_cam', 'mIoU', '%', 'train', True), ('eval_walk', 'mIoU', '%', 'train', False),
        ('seg', 'mIoU', '%', 'val', False), ('seg', 'count', '', '', False)]
    assert [line.name for line in comparison.times] == comparison.stages
    walk = cells(comparison.metrics, 'eval_walk')
    assert walk['base'].state == 'absent' and walk['seam'].difference is None
    assert cells(comparison.metrics, 'seg', 'count')['seam'].state == 'unmeasured'
    assert not comparison.is_incomplete


def test_times_are_means_and_their_sum(comparison):
    assert cells(comparison.times, 'cam', 'time')['base'].mean == pytest.approx(11.5)
    assert comparison.total_seconds('base') == pytest.approx(11.5 + 1 + 1)
    assert comparison.total_seconds('seam') == pytest.approx(20 + 1 + 5 + 1 + 1)


def test_figures_of_other_splits_or_kinds_are_not_compared(make):
    a = make('a', {'eval': figures(row(40., note='train, threshold 0.4', oracle=True))})
    b = make('b', {'eval': figures(row(41., note='train, threshold 0.6', oracle=True))})
    c = make('c', {'eval': figures(row(42., note='val, threshold 0.6', oracle=True))})
    d = make('d', {'eval': figures(row(43., note='train'))})
    lines = Comparison(dict(a=[a], b=[b], c=[c], d=[d])).metrics
    assert [line.measure[2:4] for line in lines] == [('train', True), ('val', True), ('train', False)]
    assert [cell.difference for cell in lines[0].cells.values()] == [None, 1, None, None]
    assert [cell.state for cell in lines[1].cells.values()] == ['unmeasured', 'unmeasured', 'measured', 'unmeasured']
    assert all(cell.difference is None for line in lines[1:] for cell in line.cells.values())


def test_the_baseline_is_chosen(make):
    sources = {name: [make(name, {'eval': figures(row(value))})] for name, value in (('a', 40.), ('b', 42.))}
    assert [cell.difference for cell in Comparison(sources, 'b').metrics[0].cells.values()] == [-2, None]
    with pytest.raises(UserError, match='--baseline c: is not one of a, b'):
        Comparison(sources, 'c')


def test_what_is_not_complete_is_missing(make):
    whole = make('whole', {'eval': figures(row(40.)), 'label': {}, 'eval_label': figures(row(50.))})
    half = make('half', {'eval': figures(row(42.)), 'label': None}, report=False)
    both = Comparison(dict(whole=[whole], both=[whole, half], half=[half]))
    state = {name: cell.state for name, cell in cells(both.metrics, 'eval_label').items()}
    assert state == dict(whole='measured', both='measured', half='missing') and both.is_incomplete
    assert cells(both.metrics, 'eval_label')['both'].values == (50,) and both.stages == ['eval', 'label', 'eval_label']
    assert [both.times[1].cells[name].state for name in ('both', 'half')] == ['measured', 'missing']
    assert both.total_seconds('half') == 1
    short = make('short', {'eval': figures(row(42.))})
    assert not Comparison(dict(whole=[whole], short=[short])).is_incomplete, 'a shorter pipeline is none with holes'
    assert Comparison(dict(seeds=[whole, short])).is_incomplete, 'a seed with fewer stages is'
    assert Comparison(dict(whole=[whole], half=[half])).baseline == 'whole'


def test_an_unfinished_pipeline_does_not_decide_the_order(make):
    half = make('half', {'b': figures(row(42.)), 'a': {}}, report=False)
    whole = make('whole', {'a': {}, 'b': figures(row(40.))})
    assert Comparison(dict(half=[half], whole=[whole])).stages == ['a', 'b']


def test_nothing_measured(make):
    without_masks = make('a', {'eval': figures(row(None, note='not evaluated: no masks'))})
    training = make('b', {'train': {}, 'eval': None}, report=False)
    with pytest.raises(UserError, match=r'nothing to compare \(eval: not evaluated: no masks\)'):
        Comparison(dict(a=[without_masks], b=[training]))
    with pytest.raises(UserError, match=r'nothing to compare$'):
        Comparison(dict(b=[training]))
    with pytest.raises(UserError, match='no work folder'):
        Comparison({})
    other = make('c', {'eval': figures(row(40.))})
    lines = Comparison(dict(a=[without_masks], b=[training], c=[other])).metrics
    assert [cell.state for cell in lines[0].cells.values()] == ['unmeasured', 'missing', 'measured'] and len(lines) == 1
    others = make('d', {'eval': figures(row(40., 'count')), 'last': figures(row(None))})
    line = Comparison(dict(d=[others])).metrics[-1]
    assert line.name == 'last' and line.cells['d'].state == 'unmeasured', 'what nobody could measure is there too'


def test_classes(make):
    def stage(oracle, **per_class):
        return figures(row(40.), metrics_json=dict(per_class=per_class, oracle_threshold=oracle))

    sources = dict(
        a=[make('a0', {'eval': stage(True, background=.75, cat=.5)}),
           make('a1', {'eval': stage(True, background=.85, cat=None)})],
        b=[make('b0', {'eval': stage(True, background=.7, cow=.25), 'plain': figures(row(1.), metrics_json={})})])
    lines = Comparison(sources, per_class='eval').classes
    assert [(line.name, line.measure.oracle) for line in lines] == [('background', True), ('cat', True), ('cow', True)]
    assert lines[0].cells['a'].mean == pytest.approx(80) and lines[0].cells['b'].difference == pytest.approx(-10)
    assert lines[0].cells['a'].std == pytest.approx(np.std([75, 85], ddof=1))
    assert lines[1].cells['a'].values == (50,) and lines[1].cells['b'].state == 'unmeasured'
    assert Comparison(sources).classes == []
    for name in ('plain', 'nothing'):
        with pytest.raises(UserError, match=f'--per-class {name}: no such stage .* there are eval'):
            Comparison(sources, per_class=name)
    with pytest.raises(UserError, match='there is none'):
        Comparison(dict(c=[make('c', {'eval': figures(row(1.))})]), per_class='eval')
    sources['c'] = [make('c1', {'eval': stage(False, background=.5)})]
    oracle, plain = Comparison(sources, per_class='eval').classes[:2]
    assert (oracle.measure.oracle, plain.measure.oracle) == (True, False)
    assert oracle.cells['c'].values == () and plain.cells['c'].values == (50,) and plain.cells['c'].difference is None


def test_figures_behind_a_crf_are_beside_others_of_that_kind(make):
    def test(*rows, **report):
        return {'eval': figures(*rows, metrics_json=dict(per_class=dict(cat=.5), **report))}

    crf = dict(row(55., note='val, DenseCRF'), after='DenseCRF')
    sources = dict(plain=[make('plain', test(row(50., note='val')))],
                   crf=[make('crf', test(crf, row(49., note='val, before DenseCRF'), postprocessors='DenseCRF'))])
    comparison = Comparison(sources, per_class='eval')
    table = comparison_tables(comparison)[0]
    assert {line[1]: line[2:] for line in table.rows} == {
        'mIoU % (val)': ('50.00', '49.00 (-1.00)'), 'mIoU % (val, DenseCRF)': ('-', '55.00')}
    assert [(line.measure.after, line.cells['crf'].values) for line in comparison.classes] == [
        ('', ()), ('DenseCRF', (50,))]


def test_pictures_are_those_of_the_first_seed_stage_by_stage(make):
    stages = {'eval': figures(row(40.)), 'one': dict(output='train.png'), 'two': dict(output='val.PNG')}
    sources = dict(a=[make('a0', {'eval': figures(row(1.)), 'one': None}, report=False), make('a1', stages),
                      make('a2', stages)], b=[make('b', stages)])
    found = [(picture.stage, picture.pipeline, '/'.join(picture.path.parts[-3:]))
             for picture in Comparison(sources).pictures()]
    assert found == [('one', 'a', 'a1/one/train.png'), ('one', 'b', 'b/one/train.png'),
                     ('two', 'a', 'a1/two/val.PNG'), ('two', 'b', 'b/two/val.PNG')]
