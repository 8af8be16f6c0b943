import pytest

from mmwsss.experiments.report.figures import HEIGHT, MAX_POINTS, WIDTH, line_chart, nice_ticks, thin


@pytest.mark.parametrize(('low', 'high', 'ticks'), [
    (0, 1, [0, .2, .4, .6, .8, 1]), (0, 47.3, [0, 10, 20, 30, 40, 50]), (.5, .5, [.5, .6, .7, .8, .9, 1.]),
    (-3, 8, [-5, -2.5, 0, 2.5, 5, 7.5, 10]), (0, 0, [0, .2, .4, .6, .8, 1])])
def test_ticks_are_round_and_enclose_the_values(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_thinning_keeps_the_ends():
    assert thin([1, 2]) == [1, 2] and thin([]) == []
    thinned = thin(range(10007))
    assert len(thinned) <= MAX_POINTS + 1 and (thinned[0], thinned[-1]) == (0, 10006)


def test_points_lie_in_the_frame_and_gaps_part_lines():
    chart = line_chart('t', 'x', {'a': [(0, 1.), (1, None), (2, 3.), (3, 2.)], 'b': [(0, float('nan')), (3, .5)]})
    assert [(name, len(parts)) for name, parts in chart.lines] == [('a', 2), ('b', 1)]
    points = [tuple(map(float, point.split(','))) for _, parts in chart.lines for part in parts
              for point in part.split()]
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in points)
    by_value = dict(zip((1, 3, 2), [points[0], points[2], points[3]]))
    assert by_value[1][1] > by_value[2][1] > by_value[3][1] and points[0][0] < points[2][0] < points[3][0]
    assert line_chart('t', 'x', {'a': [(0, None)]}) is None and line_chart('t', 'x', {}) is None
