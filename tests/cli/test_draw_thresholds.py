import json

import pytest

from mmwsss.cli.draw_thresholds import METRICS
from mmwsss.cli.main import main
from mmwsss.evaluation.evaluation_report import CURVES
from mmwsss.visualization import curve as module


def test_reports_become_one_picture(tmp_path, capsys):
    curve = [dict(threshold=t / 10, mIoU=.1 + t / 20, m_FN=1., m_FP=1.) for t in range(11)]
    for name in 'ab':
        (tmp_path / f'{name}.json').write_text(json.dumps(dict(curve=curve, threshold=1., mIoU=.6)))

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(['draw', 'thresholds', *arguments, '--out', str(tmp_path / 'curves.png')])
        return stop.value.code, *capsys.readouterr()

    first = str(tmp_path / 'a.json')
    code, out, _ = run(first, f'SEAM={tmp_path / "b.json"}')
    assert code == 0 and '2 curves' in out and (tmp_path / 'curves.png').is_file()
    (tmp_path / 'curves.png').unlink()
    assert run(first, '--alpha')[0] == 0 and (tmp_path / 'curves.png').is_file()
    code, _, err = run(first, first)
    assert code == 1 and 'is given twice' in err
    code, _, err = run(str(tmp_path / 'gone.json'))
    assert code == 1 and 'gone.json: no such report' in err


@pytest.mark.parametrize(('report', 'message'), [
    ({'curve': 5}, 'a.json: is no report of mmwsss eval --out: {"threshold"'),
    ([1, 2], 'a.json: is no report of mmwsss'),
    ({'curve': [1, 2]}, 'is no report'), ({'curve': {'a': 1}}, 'is no report'), ({'curve': 'abc'}, 'is no report'),
    ({'curve': [{'mIoU': .1}]}, 'is no report'), ({'curve': [{'threshold': .1, 'mIoU': 'x'}]}, 'is no report'),
    ({'curve': [{'threshold': .1, 'mIoU': .1}], 'threshold': 'x'}, 'is no report'),
    ({'curve': [{'threshold': .1, 'mIoU': .1}], 'threshold': .1}, 'is no report'),
    ({'curve': []}, 'has no curve'), ({'mIoU': 1}, 'has no curve'), ({'curve': [{'threshold': .1}]}, 'has no mIoU')])
def test_files_that_are_no_reports(tmp_path, capsys, report, message):
    (tmp_path / 'a.json').write_text(json.dumps(report))
    with pytest.raises(SystemExit) as stop:
        main(['draw', 'thresholds', str(tmp_path / 'a.json'), '--out', str(tmp_path / 'a.png')])
    err = capsys.readouterr().err
    assert stop.value.code == 1 and message in err and err.count('\n') == 1


def test_a_report_without_its_best_threshold(tmp_path, capsys):
    (tmp_path / 'a.json').write_text(json.dumps({'curve': [{'threshold': t, 'mIoU': t / 2} for t in (.1, .5, .9)]}))
    with pytest.raises(SystemExit) as stop:
        main(['draw', 'thresholds', str(tmp_path / 'a.json'), '--out', str(tmp_path / 'a.png')])
    assert stop.value.code == 0, capsys.readouterr().err


def test_metrics_are_the_panels(tmp_path, capsys, monkeypatch):
    """SEAM's Fig. 6: m_FN and m_FP of two models over the threshold."""
    curves = {name: [dict(threshold=t / 4, mIoU=.1, m_FN=factor * t, m_FP=None if t == 4 else factor / (t + 1))
                     for t in range(5)] for name, factor in (('baseline', 2.), ('SEAM', 1.5))}
    for name, curve in curves.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(dict(curve=curve, threshold=.5, mIoU=.1)))
    figures, draw = [], module._draw_curves
    monkeypatch.setattr(module, '_draw_curves', lambda figure, *args: (figures.append(figure), draw(figure, *args)))

    def run(*options):
        with pytest.raises(SystemExit) as stop:
            main(['draw', 'thresholds', *(f'{name}={tmp_path}/{name}.json' for name in curves), *options, '--out',
                  str(tmp_path / 'curves.png')])
        return stop.value.code, *capsys.readouterr()

    code, out, _ = run('--metric', 'm_FN', 'm_FP')
    assert code == 0 and out.endswith('curves.png: 2 curves of m_FN, m_FP\n')
    for axes, metric in zip(figures[0].axes, ('m_FN', 'm_FP'), strict=True):
        for line, curve in zip(axes.get_lines()[::2], curves.values(), strict=True):
            assert line.get_xdata().tolist() == [0, .25, .5, .75, 1]
            assert line.get_ydata().tolist() == pytest.approx(
                [float('nan') if point[metric] is None else point[metric] for point in curve], nan_ok=True)
    assert run()[0] == 0 and [axes.get_ylabel() for axes in figures[1].axes] == ['mIoU (%)']
    code, _, err = run('--metric', 'foreground_recall')
    assert code == 1 and 'baseline: has no foreground_recall in its curve' in err and err.count('\n') == 1
    code, _, err = run('--metric', 'IoU')
    assert code == 2 and 'IoU' in err
    assert METRICS == CURVES
