import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmwsss.inference import semantic_structure
from mmwsss.inference.self_affinity import (
    BlockedMatrix,
    SelfAffinityHook,
    block_shape,
    cosine_normalize,
    gated_affinity,
    over_images,
    power_affinity,
    printed_normalize,
    second_affinity,
    sum_normalize,
)
from mmwsss.structures import CAMOutput
from mmwsss.utils.errors import UserError

SWITCHES = [(normalize, total, blocks) for normalize in ('cosine', 'printed') for total in ('column', 'all')
            for blocks in (1, 2, 3)]


def normalized_by_loops(feats, mode):
    """Eq. 2, entry by entry."""
    channels, positions = feats.shape
    out = torch.zeros_like(feats)
    for k in range(channels):
        for m in range(positions):
            if mode == 'cosine':
                divisor = math.sqrt(sum(float(feats[i, m]) ** 2 for i in range(channels)))
                value = float(feats[k, m])
            else:
                divisor = math.sqrt(sum(max(0., float(feats[k, i])) for i in range(positions)))
                value = max(0., float(feats[k, m]))
            out[k, m] = value / divisor if divisor else 0
    return out


def divided_by_loops(matrix, total):
    """Eq. 5, entry by entry."""
    size = len(matrix)
    out = torch.zeros_like(matrix)
    for a in range(size):
        for b in range(size):
            if total == 'column':
                divisor = sum(float(matrix[i, b]) for i in range(size))
                alone = float(a == b)
            else:
                divisor = sum(float(matrix[i, j]) for i in range(size) for j in range(size))
                alone = float(a == b) / size
            out[a, b] = float(matrix[a, b]) / divisor if divisor else alone
    return out


def structure_by_loops(feats, normalize, total, blocks):
    """SSM of one image, K x M in float64, as the page has it."""
    f = normalized_by_loops(feats, normalize)
    size = f.shape[1]
    s = torch.zeros(size, size, dtype=torch.float64)
    for a in range(size):
        for b in range(size):
            value = sum(float(f[k, a]) * float(f[k, b]) for k in range(len(f))) - (a == b)  # eq. 3
            s[a, b] = math.tanh(value) * value  # eq. 4
    s = divided_by_loops(s, total)
    for _ in range(blocks - 1):
        new = torch.zeros_like(s)
        for a in range(size):
            for b in range(size):
                new[a, b] = max(0., sum(float(s[i, a]) * float(s[i, b]) for i in range(size)) - (a == b))  # eq. 6
        s = divided_by_loops(new, total)
    return s


def features(*shape, seed=0):
    """Rectified features with a zero channel and a zero position."""
    feats = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).relu()
    feats[:, 1] = 0
    feats[0, :, 2] = 0
    return feats


@pytest.mark.parametrize(('normalize', 'total', 'blocks'), SWITCHES)
def test_structure_equals_loops_whatever_the_width(normalize, total, blocks):
    feats = features(2, 5, 7)
    expected = torch.stack([structure_by_loops(f, normalize, total, blocks) for f in feats])
    for width in (1, 3, 7, 100):
        structure = semantic_structure(feats, blocks, normalize, total, width)
        torch.testing.assert_close(structure.dense(), expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(structure.columns(2, 3), expected[..., 2:3], rtol=1e-9, atol=1e-12)
        rows = torch.rand(2, 3, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        torch.testing.assert_close(structure.left_times(rows), rows @ expected, rtol=1e-9, atol=1e-12)
        # kept matrices were not written into
        torch.testing.assert_close(structure.dense(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('power', [0.5, 1, 4, 16])
@pytest.mark.parametrize('total', ['column', 'all'])
def test_power_of_the_cosine_equals_loops_whatever_the_width(power, total):
    feats = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    feats[0, :, 2] = 0  # a position that is related to no other, nor to itself
    for image in range(2):
        f = normalized_by_loops(feats[image], 'cosine')
        affinity = torch.zeros(7, 7, dtype=torch.float64)
        for a in range(7):
            for b in range(7):
                cosine = sum(float(f[k, a]) * float(f[k, b]) for k in range(3))
                affinity[a, b] = cosine ** power if cosine > 0 else 0
        assert (affinity > 0).sum() < 49  # some cosines are negative
        expected = divided_by_loops(affinity, total)
        for width in (1, 3, 7):
            structure = semantic_structure(feats[image:image + 1], 1, 'cosine', total, width, power)
            torch.testing.assert_close(structure.dense()[0], expected, rtol=1e-9, atol=1e-12)
            plain = power_affinity(cosine_normalize(feats[image:image + 1]), power, width).dense()[0]
            torch.testing.assert_close(plain, affinity, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('total', ['column', 'all'])
def test_negative_features_count_by_magnitude_in_the_gate(total):
    feats = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = structure_by_loops(feats[0], 'cosine', total, 2)
    torch.testing.assert_close(semantic_structure(feats, 2, 'cosine', total, 4).dense()[0], expected)
    assert (gated_affinity(cosine_normalize(feats), 6).dense() >= 0).all()


@pytest.mark.parametrize('seed', range(3))
def test_normalizations_equal_loops(seed):
    feats = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    feats[:, 0] = 0
    feats[:, :, 1] = 0
    for image, cosine, printed in zip(feats, cosine_normalize(feats), printed_normalize(feats)):
        torch.testing.assert_close(cosine, normalized_by_loops(image, 'cosine'))
        torch.testing.assert_close(printed, normalized_by_loops(image, 'printed'))
        assert (printed >= 0).all()  # a channel whose sum is negative included
        torch.testing.assert_close(cosine.norm(dim=0), torch.tensor([1., 0, 1, 1, 1], dtype=torch.float64))


@pytest.mark.parametrize(('total', 'dims'), [('column', 1), ('all', (1, 2))])
def test_sums_are_one(total, dims):
    for feats in (features(2, 4, 6), torch.zeros(2, 4, 6), torch.ones(2, 4, 1)):
        for blocks in (1, 2, 3):
            sums = semantic_structure(feats, blocks, 'cosine', total, 4).dense().sum(dim=dims)
            torch.testing.assert_close(sums, torch.ones_like(sums))


@pytest.mark.parametrize(('normalize', 'total', 'message'), [
    ('cosine', 'columns', r"sum is one of \('column', 'all'\), got 'columns'"), ('cosine', 'All', 'sum is one of'),
    ('cos', 'all', r"normalize is one of \('cosine', 'printed'\), got 'cos'"), ('', 'all', 'normalize is one of')])
def test_unknown_words_are_refused(normalize, total, message):
    with pytest.raises(ValueError, match=message):
        semantic_structure(features(1, 3, 4), 1, normalize, total, 4)


def test_position_without_relation_is_its_own():
    feats = torch.eye(3)[None]  # three positions, all different
    for total, weight in (('column', 1.), ('all', 1 / 3)):
        structure = semantic_structure(feats, 2, 'cosine', total, 2).dense()
        torch.testing.assert_close(structure[0], torch.eye(3) * weight)


@pytest.mark.parametrize('normalize', ['cosine', 'printed'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_with_large_features_is_finite_and_close(normalize, dtype):
    feats = features(2, 8, 12).to(dtype)
    feats = feats * (torch.finfo(dtype).max / feats.max() if dtype == torch.float16 else 1e30)
    assert feats.isfinite().all()
    seen = []

    def function(maps, feats, width):
        seen.append((maps.dtype, feats.dtype))
        return semantic_structure(feats, 2, normalize, 'column', width).left_times(maps)

    maps = torch.rand(2, 3, 3, 4).to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        result = over_images(function, maps, feats.view(2, 8, 3, 4), 50)
    assert seen == [(torch.float32, torch.float32)] * 2
    assert result.isfinite().all()
    expected = over_images(function, maps.double(), feats.double().view(2, 8, 3, 4), 10**6)
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-5)


class LargestTensor(TorchDispatchMode):
    """Notes the number of entries of the largest tensor that any operation returns."""
    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
        return result


@pytest.mark.parametrize('total', ['column', 'all'])
@pytest.mark.parametrize('blocks', [1, 2, 3])
def test_no_tensor_is_larger_than_the_limit(total, blocks):
    feats, maps = torch.rand(3, 4, 8, 12), torch.rand(3, 2, 8, 12)
    for limit in (2000, 96 * 96 * 2):  # columns of an image (image: 9,216 entries), two images
        with LargestTensor() as largest:
            result = over_images(lambda m, f, width: semantic_structure(f, blocks, 'cosine', total, width)
                                 .left_times(m), maps, feats, limit)
        assert result.shape == maps.shape
        assert limit / 2 < largest.entries <= limit


@pytest.mark.parametrize(('size', 'limit', 'expected'), [
    (10, 250, (2, 10)), (10, 100, (1, 10)), (10, 99, (1, 9)), (10, 1, (1, 1)), (1, 5, (5, 1)),
    (5792, 2**25, (1, 5792))])
def test_block_shape(size, limit, expected):
    assert block_shape(size, limit) == expected


def test_kept_matrix_is_computed_once_and_others_by_blocks():
    calls = []

    def columns(start, stop):
        calls.append((start, stop))
        return torch.ones(1, 4, stop - start)

    whole = sum_normalize(BlockedMatrix(columns, 4, 4), 'all')
    second_affinity(whole).dense()
    assert calls == [(0, 4)]
    calls.clear()
    second_affinity(BlockedMatrix(columns, 4, 3)).dense()
    # For each block its own columns and the others'.
    assert calls == [(0, 3), (3, 4), (3, 4), (0, 3)]


class Scaling(SelfAffinityHook):
    """Multiplies by the mean of the features, at twice the size."""

    def refine(self, cam, feats):
        self.classes = cam.shape[1]
        factor = sum(feat.mean() for feat in feats)
        return (cam * factor).repeat_interleave(2, dim=2)


def cam_function(inputs, labels):
    maps = inputs.mean(dim=1, keepdim=True).relu() * torch.tensor([1., 2, 3, 4]).view(1, 4, 1, 1)
    return CAMOutput(cam=maps, logits=maps.mean(dim=(2, 3)), feats={'0': inputs, '1': 2 * inputs})


def test_hook_passes_scores_and_features_on_and_leaves_out_absent_classes():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(3))
    hook = Scaling(('0', '1'), 10)
    plain = cam_function(images, None)
    everything = hook(cam_function, images, None)
    assert everything.cam.shape == (2, 4, 8, 5)
    torch.testing.assert_close(everything.cam[:, :, ::2], plain.cam * 3 * images.mean())
    labels = torch.tensor([[0., 1, 0, 0], [0, 1, 1, 0]])
    some = hook(cam_function, images, labels)
    assert hook.classes == 2
    torch.testing.assert_close(some.cam[:, 1:3], everything.cam[:, 1:3])
    assert (some.cam[:, [0, 3]] == 0).all()
    nothing = hook(cam_function, images, labels * 0)
    assert nothing.cam.shape == everything.cam.shape and (nothing.cam == 0).all()
    for output in (everything, some, nothing):
        torch.testing.assert_close(output.logits, plain.logits)
        assert list(output.feats) == ['0', '1'] and torch.equal(output.feats['1'], plain.feats['1'])


def test_errors_name_a_valid_order_and_the_stages():
    images = torch.rand(1, 3, 4, 4)

    def without_feats(inputs, labels):
        return CAMOutput(cam=inputs, logits=inputs.mean(dim=(2, 3)))

    with pytest.raises(UserError, match=r"inference_hooks=\[dict\(type='MultiScaleFlip'\), dict\(type='Scaling'\)\]"):
        Scaling('0', 10)(without_feats, images, None)
    with pytest.raises(UserError, match="'7', but the model has the stages '0', '1'"):
        Scaling(('0', '7'), 10)(cam_function, images, None)


def test_stage_names_as_the_command_line_gives_them():
    for given, expected in ((2, ('2',)), ('3', ('3',)), ((2, 3), ('2', '3')), (['2'], ('2',))):
        assert Scaling(given, 1).stages == expected
    for kwargs in (dict(stages=(), block_limit=1), dict(stages=('1', 1), block_limit=1),
                   dict(stages='1', block_limit=0), dict(stages='1', block_limit=1e6)):
        with pytest.raises(ValueError, match='Scaling'):
            Scaling(**kwargs)
