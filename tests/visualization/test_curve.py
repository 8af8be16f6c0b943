import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mmwsss.evaluation import CAMHistogram, cam_histogram, cam_report, confusion_matrix, label_report
from mmwsss.postprocessing import score_map_constant, score_map_power
from mmwsss.utils.errors import UserError
from mmwsss.visualization import curve as module
from mmwsss.visualization.curve import plot_curve

THRESHOLDS = [i / 20 for i in range(21)]


@pytest.fixture
def report():
    rng = np.random.default_rng(0)
    cam = rng.random((1, 40, 40), dtype=np.float32)
    gt = (cam[0] + .2 * rng.standard_normal((40, 40)) > .6).astype(np.uint8)
    return cam_report(cam_histogram(cam, np.array([0]), gt, THRESHOLDS, 1), THRESHOLDS, ('cat',), 1)


@pytest.mark.parametrize('suffix, magic', [('.png', b'\x89PNG'), ('.pdf', b'%PDF'), ('.svg', b'<?xml')])
def test_files(tmp_path, report, suffix, magic):
    path = tmp_path / 'new' / f'curve{suffix}'
    plot_curve(report, path, 'title')
    assert path.read_bytes().startswith(magic)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_picture_has_the_lines(tmp_path, report):
    plot_curve(report, tmp_path / 'a.png')
    with Image.open(tmp_path / 'a.png') as image:
        pixels = np.array(image.convert('RGB')).reshape(-1, 3)
    assert min(image.size) > 300
    for colour in ([31, 119, 180], [255, 127, 14], [44, 160, 44]):  # tab:blue, tab:orange, tab:green
        assert (pixels == colour).all(axis=1).sum() > 50


def test_what_is_drawn(report):
    figure = Figure()
    module._draw(figure, report, 'title')
    left, right = figure.axes
    line, marker = left.get_lines()
    np.testing.assert_allclose(line.get_xydata(), [(p['threshold'], 100 * p['mIoU']) for p in report['curve']])
    assert set(marker.get_xdata()) == {report['threshold']} and .3 < report['threshold'] < .9
    for line, name in zip(right.get_lines(), ('m_FN', 'm_FP')):
        expected = [np.nan if p[name] is None else p[name] for p in report['curve']]
        np.testing.assert_allclose(line.get_ydata(), expected)
        assert np.isnan(expected[-1])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any('oracle threshold' in text and f'{100 * report["mIoU"]:.1f} %' in text for text in legend)


def test_all_points_are_in_the_frame(report):
    figure = Figure()
    module._draw(figure, report, None)
    figure.canvas.draw()
    for axes in figure.axes:
        for line in axes.get_lines():
            x, y = axes.transAxes.inverted().transform(axes.transData.transform(line.get_xydata())).T
            for values in (x, y):
                assert np.nanmin(values) >= -1e-9 and np.nanmax(values) <= 1 + 1e-9
    nan = np.nan
    assert module._upper_limit(np.array([1, 3, 10, nan, 9, 2, .1, nan])) == 12
    assert module._upper_limit(np.array([0, .1, .2, 0])) == 2
    assert module._upper_limit(np.array([nan, nan])) == 2


def test_nothing_to_draw(tmp_path):
    plot_curve(cam_report(CAMHistogram.zeros(1, 2), [.1, .2], ('cat',), 0), tmp_path / 'a.png')
    assert (tmp_path / 'a.png').exists()


def test_refusals(tmp_path, report):
    with pytest.raises(UserError, match=r'a\.jpg: a picture can be written as'):
        plot_curve(report, tmp_path / 'a.jpg')
    labels = label_report(confusion_matrix(*np.zeros((2, 1, 1), np.uint8), 1), ('cat',), 1)
    with pytest.raises(UserError, match='no curve to plot'):
        plot_curve(labels, tmp_path / 'a.png')
    assert not list(tmp_path.iterdir())


def test_several_curves_in_one_picture(tmp_path, report):
    other = dict(report, curve=[dict(point, mIoU=None if i == 0 else point['mIoU'] / 2)
                                for i, point in enumerate(report['curve'])], mIoU=report['mIoU'] / 2)
    figure = Figure()
    module._draw_curves(figure, dict(one=report, two=other), 'title')
    first, best, second, _ = figure.axes[0].get_lines()
    for line, source in ((first, report), (second, other)):
        expected = [np.nan if p['mIoU'] is None else 100 * p['mIoU'] for p in source['curve']]
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (report['threshold'], 100 * report['mIoU'])
    module.plot_curves(dict(one=report, two=other), tmp_path / 'both.png')
    assert (tmp_path / 'both.png').is_file()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [f'{name}: mIoU {100 * source["mIoU"]:.1f} % at {report["threshold"]:.3g} (oracle)'
                      for name, source in (('one', report), ('two', other))]
    with pytest.raises(UserError, match='two: has no curve'):
        module.plot_curves(dict(one=report, two=dict(report, curve=[])), tmp_path / 'b.png')
    with pytest.raises(UserError, match='change the suffix'):
        module.plot_curves(dict(one=report), tmp_path / 'b.gif')


@pytest.mark.parametrize('over_alpha', [False, True])
def test_a_panel_for_each_metric(report, over_alpha):
    other = dict(report, threshold=.35, curve=[
        {name: value if name == 'threshold' or value is None else value / 3 for name, value in point.items()}
        for point in report['curve']])
    metrics = ('m_FP', 'mIoU', 'm_FN', 'foreground_recall', 'precision', 'recall')
    figure = Figure()
    module._draw_curves(figure, dict(one=report, two=other), None, over_alpha, metrics)
    figure.canvas.draw()
    assert len(figure.axes) == len(metrics) and len(figure.legends[0].get_texts()) == 2
    for axes, metric in zip(figure.axes, metrics):
        first, first_best, second, second_best = axes.get_lines()
        for line, best, source in ((first, first_best, report), (second, second_best, other)):
            points = [p for p in source['curve'] if not over_alpha or 0 < p['threshold'] < 1]
            factor = 1 if metric in ('m_FN', 'm_FP') else 100
            np.testing.assert_allclose(line.get_ydata(), [
                np.nan if p[metric] is None else factor * p[metric] for p in points])
            chosen, = (i for i, p in enumerate(points) if p['threshold'] == source['threshold'])
            np.testing.assert_array_equal(best.get_xydata(), line.get_xydata()[[chosen]])
            top = np.nanmax(line.get_ydata())
            assert axes.get_ylim()[0] == 0 and top < axes.get_ylim()[1] and line.get_color() == best.get_color()
        assert first.get_color() != second.get_color()
        shown = axes.get_ylabel().replace('{', '').replace('}', '').replace(' ', '_')
        assert metric in shown and ('(%)' in shown) == (factor == 100)
        assert (axes.get_yscale() == 'symlog') == (factor == 1)


def test_reports_without_the_metric(tmp_path, report):
    older = dict(report, curve=[{name: value for name, value in point.items() if name != 'foreground_recall'}
                                for point in report['curve']])
    module.plot_curves(dict(new=report, old=older), tmp_path / 'a.png', metrics=('mIoU', 'm_FN', 'm_FP'))
    with Image.open(tmp_path / 'a.png') as image:
        assert image.size == (1800, 504)
    with pytest.raises(UserError, match=r'old: has no foreground_recall in its curve.*make it anew'):
        module.plot_curves(dict(new=report, old=older), tmp_path / 'b.png', metrics=('foreground_recall',))
    assert not (tmp_path / 'b.png').exists()


@pytest.mark.parametrize('alpha', [0.5, 1, 4, 16, 32])
def test_exponent_and_threshold_that_make_the_same_labels(alpha):
    cam = np.random.default_rng(1).random((3, 50, 60), dtype=np.float32)
    classes = np.arange(3)
    thresholds = np.linspace(0.001, 0.999, 999)
    threshold = thresholds[np.abs(module.alpha_of(thresholds) - alpha).argmin()]
    power = score_map_power(cam, classes, module.alpha_of(threshold)).scores.argmax(axis=0)
    constant = score_map_constant(cam, classes, threshold).scores.argmax(axis=0)
    assert (power != constant).mean() < 0.001  # rounding
    assert 0 < (power > 0).mean() < 1 or alpha == 32


def test_curves_over_the_exponent(report):
    figure = Figure()
    module._draw_curves(figure, {'SEAM': report}, None, over_alpha=True)
    line, best = figure.axes[0].get_lines()
    inner = [point for point in report['curve'] if 0 < point['threshold'] < 1]
    np.testing.assert_allclose(line.get_ydata(), [100 * point['mIoU'] for point in inner])
    assert line.get_xdata()[[point['threshold'] for point in inner].index(0.5)] == pytest.approx(1)
    assert best.get_xdata()[0] == pytest.approx(np.log(report['threshold']) / np.log(1 - report['threshold']))
    assert 'alpha' in figure.axes[0].get_xlabel()
    text, = figure.legends[0].get_texts()
    assert text.get_text() == f'SEAM: mIoU {100 * report["mIoU"]:.1f} % at {best.get_xdata()[0]:.3g} (oracle)'
