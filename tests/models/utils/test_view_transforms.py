import cmath
import math

import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.utils import (
    ComposeViews,
    FlipView,
    RescaleView,
    RotateView,
    TranslateView,
    ViewTransform,
    flip_images,
    rescale,
    rotate,
    translate,
)
from mmwsss.registry import TASK_UTILS

ALL = dict(type='ComposeViews', transforms=[dict(type='RescaleView', scale=0.6), dict(type='RotateView'),
                                            dict(type='TranslateView', max_pixels=3), dict(type='FlipView')])
CONFIGS = [dict(type='RescaleView'), dict(type='FlipView'), dict(type='RotateView'), dict(type='TranslateView'),
           dict(type='TranslateView', exact=True), ALL]
SIZES = [(1, 1), (1, 7), (8, 1), (6, 6), (9, 5), (4, 11)]


def names(config):
    return config['type']


def random(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pixel(image, y, x):
    """Value at integer position; zero outside."""
    height, width = image.shape
    return float(image[y, x]) if 0 <= y < height and 0 <= x < width else 0.0


def bilinear(image, y, x):
    """Value at a real position, from the four pixels around it."""
    top, left = math.floor(y), math.floor(x)
    value = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            value += (1 - abs(y - row)) * (1 - abs(x - column)) * pixel(image, row, column)
    return value


def over_pixels(x, function, size=None):
    """Builds N x C x (size) from function(n, image, y, x), one pixel after the other."""
    height, width = size or x.shape[-2:]
    out = torch.zeros(*x.shape[:2], height, width, dtype=torch.float64)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for row in range(height):
                for column in range(width):
                    out[n, c, row, column] = function(n, x[n, c], row, column)
    return out


@pytest.mark.parametrize('size', SIZES)
def test_rotation_equals_turning_every_pixel_as_a_complex_number(size):
    x = random((3, 2, *size), seed=sum(size))
    degrees = [-20.0, 33.0, 170.0]
    height, width = size

    def turned(n, image, row, column):
        # The vertical axis of the complex plane points up, that of an image down.
        point = complex(column - (width - 1) / 2, (height - 1) / 2 - row)
        source = point * cmath.exp(-1j * math.radians(degrees[n]))
        return bilinear(image, (height - 1) / 2 - source.imag, source.real + (width - 1) / 2)

    torch.testing.assert_close(rotate(x, torch.tensor(degrees)), over_pixels(x, turned), rtol=1e-6, atol=1e-6)


def test_rotation_is_counterclockwise():
    x = random((2, 3, 6, 6))
    torch.testing.assert_close(rotate(x, torch.tensor([90.0, 180.0])),
                               torch.stack([x[0].rot90(1, (-2, -1)), x[1].rot90(2, (-2, -1))]))


def test_rotation_of_a_bar_in_a_wide_image_does_not_shear_it():
    wide = torch.zeros(1, 1, 21, 101)
    wide[..., 8:13, 46:55] = 1
    square = F.pad(wide, (0, 0, 40, 40))
    turned = rotate(wide, torch.tensor([45.0]))
    torch.testing.assert_close(turned, rotate(square, torch.tensor([45.0]))[..., 40:61, :])
    assert turned.sum().item() == pytest.approx(45, rel=0.01)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('scale', [0.3, 0.5, 0.9, 1.7])
def test_rescaling_equals_interpolation_between_aligned_corners(size, scale):
    x = random((2, 2, *size), seed=sum(size))
    new = [max(1, int(side * scale)) for side in size]

    def position(index, old_side, new_side):
        return index * (old_side - 1) / (new_side - 1) if new_side > 1 else 0.0

    expected = over_pixels(x, lambda n, image, row, column: bilinear(
        image, position(row, size[0], new[0]), position(column, size[1], new[1])), new)
    torch.testing.assert_close(rescale(x, scale), expected)
    assert RescaleView(scale).output_size(size) == tuple(new)


@pytest.mark.parametrize('scale', [0.1, 0.29, 0.3, 0.5, 0.7, 1.1])
def test_rescaling_is_that_of_torch_at_every_size(scale):
    x = random((1, 1, 600, 600), dtype=torch.float32)
    for side in range(10, 601):
        part = x[..., :side, :max(10, 310 - side)]
        expected = F.interpolate(part, scale_factor=scale, mode='bilinear', align_corners=True)
        assert torch.equal(RescaleView(scale).sample(1, part.shape[-2:])(part), expected), side


@pytest.mark.parametrize('size', SIZES)
def test_flip_equals_reading_rows_backwards(size):
    x = random((4, 2, *size))
    flipped = [True, False, False, True]
    expected = over_pixels(x, lambda n, image, row, column:
                           image[row, size[1] - 1 - column if flipped[n] else column])
    assert torch.equal(flip_images(x, torch.tensor(flipped)), expected)


@pytest.mark.parametrize('size', SIZES)
def test_translation_equals_moving_every_pixel(size):
    x = random((6, 2, *size))
    shifts = torch.tensor([[0, 0], [2, -1], [-3, 4], [size[0], 0], [0, -size[1]], [15, -15]])
    expected = over_pixels(x, lambda n, image, row, column:
                           pixel(image, row - int(shifts[n, 0]), column - int(shifts[n, 1])))
    assert torch.equal(translate(x, shifts), expected)


@pytest.mark.parametrize('config', CONFIGS, ids=names)
@pytest.mark.parametrize('size', [*SIZES, (40, 23)])
def test_a_channel_as_map_moves_as_in_the_image(config, size):
    transform = TASK_UTILS.build(config)
    view = transform.sample(3, size)
    images = random((3, 5, *size), dtype=torch.float32)
    moved = view(images)
    assert moved.shape == (3, 5, *transform.output_size(size))
    assert moved.dtype == torch.float32
    torch.testing.assert_close(view(images[:, 2:3]), moved[:, 2:3])
    torch.testing.assert_close(view(images.contiguous(memory_format=torch.channels_last)), moved)


@pytest.mark.parametrize('config', CONFIGS, ids=names)
def test_gradient_with_respect_to_the_input(config):
    view = TASK_UTILS.build(config).sample(3, (5, 4))
    x = random((3, 2, 5, 4)).requires_grad_()
    assert torch.autograd.gradcheck(view, x)


@pytest.mark.parametrize('config', CONFIGS, ids=names)
def test_what_takes_in_the_outside_says_so(config):
    torch.manual_seed(0)
    view = TASK_UTILS.build(dict(type='ComposeViews', transforms=[config, config]))
    seen = view.sample(4, (30, 40))(torch.ones(4, 1, 30, 40))
    assert view.takes_in == view.transforms[0].takes_in == bool((seen < 0.9).any())
    if not view.takes_in:
        assert (seen == 1).all()


@pytest.mark.parametrize('config', CONFIGS[1:], ids=names)
def test_the_seed_alone_decides(config):
    transform, x = TASK_UTILS.build(config), random((6, 1, 40, 40), dtype=torch.float32)

    def drawn(seed):
        torch.manual_seed(seed)
        return transform.sample(6, (40, 40))

    view = drawn(1)
    torch.rand(7)  # what is drawn between the views does not change them
    assert torch.equal(view(x), view(x))
    assert torch.equal(view(x), drawn(1)(x))
    assert not torch.equal(view(x), drawn(2)(x))


def test_every_image_has_its_own_parameters():
    torch.manual_seed(0)
    x = random((1, 1, 40, 40), dtype=torch.float32).expand(12, 1, 40, 40)
    assert len(FlipView().sample(12, (40, 40))(x).unique(dim=0)) == 2
    assert len(RotateView().sample(12, (40, 40))(x).unique(dim=0)) == 12
    assert len(TranslateView().sample(12, (40, 40))(x).unique(dim=0)) == 12
    assert len(TranslateView(exact=True).sample(64, (40, 40))(x[:1].repeat(64, 1, 1, 1)).unique(dim=0)) == 4


def found_shifts(transform, num_images):
    x = torch.zeros(num_images, 1, 9, 11)
    x[..., 4, 5] = 1
    return transform.sample(num_images, (9, 11))(x).nonzero()[:, 2:] - torch.tensor([4, 5])


def test_shifts_cover_the_whole_range_or_only_its_ends():
    torch.manual_seed(0)
    shifts = found_shifts(TranslateView(max_pixels=2), 1000)
    assert len(shifts) == 1000
    counts = torch.stack([(shifts == value).sum(dim=0) for value in range(-2, 3)])
    assert counts.sum() == 2000
    assert (counts - 200).abs().max() < 60
    assert set(map(tuple, found_shifts(TranslateView(max_pixels=2, exact=True), 100).tolist())) == {
        (2, 2), (2, -2), (-2, 2), (-2, -2)}


def test_angles_stay_in_their_range_and_reach_both_ends(monkeypatch):
    angles = []
    monkeypatch.setattr('mmwsss.models.utils.view_transforms.rotate', lambda x, degrees: angles.append(degrees))
    torch.manual_seed(0)
    RotateView(max_degrees=20).sample(2000, (1, 1))(torch.zeros(2000, 1, 1, 1))
    assert -20 <= angles[0].min() < -19
    assert 19 < angles[0].max() <= 20
    assert abs(angles[0].mean()) < 1


@pytest.mark.parametrize(('prob', 'low', 'high'), [(0, 0, 0), (0.5, 440, 560), (1, 1000, 1000)])
def test_flips_are_as_frequent_as_asked(prob, low, high):
    torch.manual_seed(0)
    x = torch.tensor([0.0, 1.0]).expand(1000, 1, 1, 2)
    assert low <= FlipView(prob).sample(1000, (1, 2))(x)[..., 0].sum() <= high


def test_parameters_behind_a_rescaling_are_for_the_new_size():
    x = random((2, 3, 40, 20), dtype=torch.float32)
    config = dict(type='TranslateView', max_pixels=4, exact=True)
    torch.manual_seed(3)
    last = ComposeViews([config, dict(type='RescaleView', scale=0.5)])
    moved_first = last.sample(2, (40, 20))(x)
    torch.manual_seed(3)
    first = ComposeViews([RescaleView(0.5), config])
    moved_last = first.sample(2, (40, 20))(x)
    assert last.output_size((40, 20)) == first.output_size((40, 20)) == (20, 10)
    torch.manual_seed(3)
    shift = TranslateView(4, exact=True).sample
    torch.testing.assert_close(moved_first, rescale(shift(2, (40, 20))(x), 0.5))
    torch.manual_seed(3)
    torch.testing.assert_close(moved_last, shift(2, (20, 10))(rescale(x, 0.5)))
    assert not torch.allclose(moved_first, moved_last)


@pytest.mark.parametrize('config', CONFIGS, ids=names)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_and_half_precision_do_not_move_pixels(config, dtype):
    view = TASK_UTILS.build(config).sample(2, (300, 90))
    x = random((2, 2, 300, 90), dtype=dtype)
    expected = view(x.float())
    with torch.autocast('cpu', dtype=dtype):
        half, full = view(x), view(x.float())
    assert half.dtype == dtype
    assert torch.equal(full, expected)
    error = 0.02 if dtype == torch.bfloat16 else 0.003
    torch.testing.assert_close(half.float(), expected, rtol=error, atol=error)
    torch.testing.assert_close(view(x), half, rtol=error, atol=error)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('config', CONFIGS, ids=names)
def test_cuda_draws_and_computes_the_same(config):
    view = TASK_UTILS.build(config).sample(2, (300, 90))
    x = random((2, 2, 300, 90), dtype=torch.float32)
    moved = view(x.cuda())
    assert moved.is_cuda
    torch.testing.assert_close(moved.cpu(), view(x), rtol=1e-3, atol=1e-3)
    with torch.autocast('cuda', dtype=torch.bfloat16):
        assert view(x.cuda().bfloat16()).dtype == torch.bfloat16
        torch.testing.assert_close(view(x.cuda()), moved)


@pytest.mark.parametrize('shape', [(3, 1, 4, 5), (2, 1, 5, 4), (2, 1, 4, 6), (2, 4, 5)])
@pytest.mark.parametrize('config', CONFIGS, ids=names)
def test_another_shape_than_the_sampled_one_is_refused(config, shape):
    with pytest.raises(ValueError, match='was sampled for 2 x C x 4 x 5'):
        TASK_UTILS.build(config).sample(2, (4, 5))(torch.zeros(shape))


@pytest.mark.parametrize(('cls', 'value'), [
    (RescaleView, 0), (RescaleView, -0.3), (RescaleView, 4.1), (RescaleView, math.nan), (FlipView, -0.1),
    (FlipView, 1.1), (RotateView, -1), (RotateView, 181), (TranslateView, -1), (TranslateView, 1.5),
    (ComposeViews, []), (ComposeViews, ['flip'])])
def test_wrong_arguments_name_the_class(cls, value):
    with pytest.raises(ValueError, match=cls.__name__):
        cls(value)


def test_a_transform_of_ones_own_needs_only_draw():
    class Negate(ViewTransform):
        def draw(self, num_images, size):
            return torch.neg

    x = random((2, 3, 4, 5))
    assert torch.equal(ComposeViews([Negate(), dict(type='FlipView', prob=1)]).sample(2, (4, 5))(x), -x.flip(-1))
