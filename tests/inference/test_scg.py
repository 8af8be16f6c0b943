import math

import pytest
import torch
import torch.nn.functional as F

from mmwsss.inference import SCG, MultiScaleFlip, compose, self_correlation_map
from mmwsss.inference.scg import evidence, self_correlation
from mmwsss.inference.self_affinity import BlockedMatrix
from mmwsss.structures import CAMOutput
from mmwsss.utils.errors import UserError

SETTINGS = [('first', 0.2, 0.2), ('second', 0.1, 0.5), ('both', 0.2, 0.2), ('both', 0.5, 1.2), ('both', 0.0, 0.0)]


def columns_divided(matrix):
    """Every column by its sum, entry by entry; an empty column stays so."""
    out = torch.zeros_like(matrix)
    for b in range(len(matrix)):
        total = sum(float(v) for v in matrix[:, b])
        for a in range(len(matrix)):
            out[a, b] = float(matrix[a, b]) / total if total else 0
    return out


def correlation_by_loops(feats, order, th1, th2):
    """The page's formula for one image, K x M in float64."""
    size = feats.shape[1]
    cosine = torch.zeros(size, size, dtype=torch.float64)
    for a in range(size):
        for b in range(size):
            dot = sum(float(x) * float(y) for x, y in zip(feats[:, a], feats[:, b]))
            norms = math.sqrt(sum(float(x) ** 2 for x in feats[:, a]) * sum(float(x) ** 2 for x in feats[:, b]))
            value = max(0., dot / norms if norms else 0.)
            cosine[a, b] = value if value >= th1 else 0
    first = columns_divided(cosine)
    step = cosine.clone()
    for a in range(size):
        step[a, a] = 0
    step = columns_divided(step)
    second = torch.zeros_like(step)
    for a in range(size):
        for b in range(size):
            value = sum(float(step[a, i]) * float(step[i, b]) for i in range(size))
            second[a, b] = value if value >= th2 / size else 0
    if order != 'both':
        return first if order == 'first' else second
    return columns_divided(torch.maximum(first, second))


def shifted(values):
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 0. for v in values]


def map_by_loops(cam, correlation, foreground, background, minmax):
    """Positive less negative evidence of one class, M positions."""
    size = len(cam)
    top = max(float(v) for v in cam)
    share = [float(v) / top if top else 0. for v in cam]
    columns = [[float(v) for v in correlation[:, b]] for b in range(size)]
    if minmax:
        columns = [shifted(column) for column in columns]

    def mean(chosen):
        total = [sum(columns[b][a] for b in chosen) / max(1, len(chosen)) for a in range(size)]
        return shifted(total) if minmax else total

    positive = mean([b for b in range(size) if share[b] >= foreground])
    negative = mean([b for b in range(size) if share[b] <= background])
    result = [max(0., p - n) for p, n in zip(positive, negative)]
    top = max(result)
    return torch.tensor([v / top if top else 0. for v in result], dtype=torch.float64)


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    feats = torch.randn(2, 4, 2, 4, generator=generator, dtype=torch.float64)
    feats[0, :, 1, 1] = 0
    cam = torch.rand(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    cam[cam < 0.4] = 0
    cam[1, 0] = 0  # an empty map
    cam[1, 2] = 0.7  # one without background
    return feats, cam


@pytest.mark.parametrize(('order', 'th1', 'th2'), SETTINGS)
def test_correlation_equals_loops_whatever_the_width(order, th1, th2):
    feats = example()[0].flatten(2)
    expected = torch.stack([correlation_by_loops(f, order, th1, th2) for f in feats])
    for width in (1, 3, 8, 50):
        result = self_correlation(feats, order, th1, th2, width)
        torch.testing.assert_close(result.dense(), expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(result.dense(), expected, rtol=1e-9, atol=1e-12)  # nothing was written into


@pytest.mark.parametrize('minmax', [False, True])
@pytest.mark.parametrize(('order', 'th1', 'th2'), SETTINGS)
def test_map_equals_loops_whatever_the_block_limit(order, th1, th2, minmax):
    for seed in range(2):
        feats, cam = example(seed)
        expected = torch.zeros_like(cam)
        for n in range(2):
            correlation = correlation_by_loops(feats[n].flatten(1), order, th1, th2)
            for c in range(3):
                expected[n, c] = map_by_loops(cam[n, c].flatten(), correlation, 0.3, 0.05, minmax).view(2, 4)
        assert (expected.amax(dim=(2, 3)) > 0).sum() >= 3 and (expected[1, 0] == 0).all()
        for limit in (1, 24, 64, 1000):
            result = self_correlation_map(cam, feats, order, th1, th2, 0.3, 0.05, minmax, limit)
            torch.testing.assert_close(result, expected, rtol=1e-8, atol=1e-10)


def test_evidence_is_the_mean_of_the_chosen_columns():
    matrix = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chosen = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    chosen[0, 1] = False
    result = evidence(BlockedMatrix(lambda start, stop: matrix[..., start:stop], 5, 2), chosen)
    for n in range(2):
        for c in range(3):
            columns = matrix[n][:, chosen[n, c]]
            expected = columns.mean(dim=1) if chosen[n, c].any() else torch.zeros(5, dtype=torch.float64)
            torch.testing.assert_close(result[n, c], expected)


def cam_function(inputs, labels):
    fine = F.avg_pool2d(inputs, 3, stride=1, padding=1)
    coarse = F.avg_pool2d(inputs, 2, ceil_mode=True)
    maps = torch.stack([inputs[:, 0] - inputs[:, 1], inputs[:, 1] - inputs[:, 2]], dim=1)
    maps = F.avg_pool2d(maps, 2, ceil_mode=True)
    return CAMOutput(cam=maps.relu(), logits=maps.mean(dim=(2, 3)), feats={'0': fine, '1': coarse})


def test_hook_takes_the_maximum_over_stages():
    images = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(3))
    plain = cam_function(images, None)
    output = SCG(('0', '1'), order='second', th1=0.1, th2=0.3, foreground=0.2, background=0.1)(
        cam_function, images, None)
    fine = F.interpolate(plain.cam, (8, 6), mode='bilinear')
    maps = [self_correlation_map(fine, plain.feats['0'], 'second', 0.1, 0.3, 0.2, 0.1),
            F.interpolate(self_correlation_map(plain.cam, plain.feats['1'], 'second', 0.1, 0.3, 0.2, 0.1), (8, 6),
                          mode='bilinear')]
    torch.testing.assert_close(output.cam, torch.maximum(*maps))
    assert output.cam.min() == 0 and output.cam.max() == 1
    torch.testing.assert_close(output.logits, plain.logits)
    assert list(output.feats) == ['0', '1']


def test_options_reach_the_result():
    images = torch.randn(1, 3, 10, 10, generator=torch.Generator().manual_seed(4))
    maps = [SCG(**{'stages': '1', **change})(cam_function, images, None).cam for change in (
        {}, dict(order='first'), dict(order='second'), dict(th1=0.6), dict(th2=1.5), dict(foreground=0.5),
        dict(background=0.0, foreground=0.02), dict(minmax=True), dict(stages='0'))]
    for i, first in enumerate(maps):
        for second in maps[i + 1:]:
            assert first.shape != second.shape or (first - second).abs().max() > 1e-4
    blocked = SCG('1', block_limit=60)(cam_function, images, None).cam
    torch.testing.assert_close(blocked, maps[0])


def test_inside_of_multi_scale_flip_and_not_outside():
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    labels = torch.tensor([[0., 1], [0, 1]])
    output = compose(cam_function, [dict(type='MultiScaleFlip'), dict(type='SCG', stages=('0', '1'))])(images, labels)
    assert output.cam.shape == (2, 2, 2, 2) and output.cam[:, 1].max() > 0 and (output.cam[:, 0] == 0).all()
    with pytest.raises(UserError, match=r"dict\(type='MultiScaleFlip'\), dict\(type='SCG'\)"):
        compose(cam_function, [SCG('0'), MultiScaleFlip()])(images, None)


def test_degenerate_images():
    one = torch.tensor([2., 1, 3]).view(1, 3, 1, 1)
    for minmax in (False, True):
        result = SCG(('0', '1'), minmax=minmax)(cam_function, one, None).cam
        assert result.flatten().tolist() == [float(not minmax), 0]  # a single column has no range
    empty = SCG(('0', '1'))(cam_function, torch.zeros(2, 3, 5, 4), None).cam
    assert empty.shape == (2, 2, 5, 4) and (empty == 0).all()


def test_large_maps_are_not_taken_for_empty():
    """An entry of the correlation is about 1 / hw."""
    images = torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(6))
    assert SCG('1', order='first')(cam_function, images, None).cam.amax(dim=(2, 3)).tolist() == [[1, 1]]


def test_half_precision_features():
    images = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(7))

    def half(inputs, labels):
        output = cam_function(inputs, labels)
        return CAMOutput(output.cam, output.logits, {'0': (output.feats['0'] * 1e30).bfloat16()})

    with torch.autocast('cpu', torch.bfloat16):
        result = SCG('0')(half, images, None).cam
    assert result.dtype == torch.float32 and result.isfinite().all()
    assert (result - SCG('0')(cam_function, images, None).cam).abs().mean() < 0.03


@pytest.mark.parametrize('order', ['third', 'Both', ''])
def test_unknown_order_is_refused(order):
    with pytest.raises(ValueError, match=f"order is one of .*, got '{order}'"):
        self_correlation(torch.rand(1, 2, 4), order, 0.1, 0.1, 4)
    with pytest.raises(ValueError, match=f"order is one of .*, got '{order}'"):
        self_correlation_map(torch.rand(1, 1, 2, 2), torch.rand(1, 2, 2, 2), order, 0.1, 0.1, 0.1, 0.05)


@pytest.mark.parametrize('kwargs', [dict(order='third'), dict(th1=-0.1), dict(th2=-1), dict(foreground=0.05),
                                    dict(background=-0.1), dict(stages=()), dict(block_limit=-1)])
def test_bad_options(kwargs):
    with pytest.raises(ValueError, match='SCG'):
        SCG(**kwargs)
