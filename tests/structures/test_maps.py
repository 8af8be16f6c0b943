import math

import pytest
import torch

from mmwsss.structures.maps import (
    grid_size,
    max_normalize,
    min_max_normalize,
    rescale_images,
    resize_aligned,
    resize_maps,
)


@pytest.mark.parametrize(('size', 'stride', 'expected'), [
    ((1, 1), 4, (1, 1)), ((4, 5), 4, (1, 2)), ((375, 500), 1, (375, 500)), ((375, 500), 4, (94, 125))])
def test_grid_covers_the_image(size, stride, expected):
    assert grid_size(size, stride) == expected


def bilinear(image, height, width):
    """Half-pixel bilinear resizing with clamped borders, one output pixel at a time, in float64."""
    rows, columns = image.shape
    out = torch.zeros(height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            sy = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            sx = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            y0, x0 = math.floor(sy), math.floor(sx)
            y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
            fy, fx = sy - y0, sx - x0
            out[y, x] = ((1 - fy) * ((1 - fx) * image[y0, x0] + fx * image[y0, x1])
                         + fy * ((1 - fx) * image[y1, x0] + fx * image[y1, x1]))
    return out


@pytest.mark.parametrize(('source', 'target'), [((3, 4), (7, 9)), ((1, 1), (3, 2)), ((5, 2), (5, 6)), ((6, 8), (4, 3))])
def test_resize_is_bilinear_without_aligned_corners(source, target):
    maps = torch.rand(2, 3, *source, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    resized = resize_maps(maps, target)
    assert resized.dtype == torch.float32
    for n in range(2):
        for c in range(3):
            torch.testing.assert_close(resized[n, c].double(), bilinear(maps[n, c], *target), atol=1e-6, rtol=1e-5)


def test_resize_leaves_maps_of_the_right_size_alone_and_takes_no_maps():
    maps = torch.rand(1, 2, 3, 4)
    assert resize_maps(maps, (3, 4)) is maps
    assert resize_maps(maps[:, :0], (6, 8)).shape == (1, 0, 6, 8)


@pytest.mark.parametrize(('size', 'scale', 'expected'), [
    ((1, 1), 0.5, (1, 1)), ((10, 7), 0.5, (5, 4)), ((10, 7), 2, (20, 14)), ((375, 500), 1.5, (562, 750))])
def test_rescaled_size(size, scale, expected):
    assert rescale_images(torch.zeros(1, 3, *size), scale).shape[-2:] == expected


def test_downscaling_loses_no_pixel():
    # Sampling an image of 8 at a quarter of its size without a filter reads rows 1, 2, 5 and 6 only.
    for row in range(8):
        image = torch.zeros(1, 3, 8, 8)
        image[:, :, row] = 1
        assert (rescale_images(image, 0.25).sum(dim=2) > 0.1).all()


def test_rescaling_keeps_channels_last():
    images = torch.rand(2, 3, 8, 6).contiguous(memory_format=torch.channels_last)
    for scale in (0.5, 1.5):
        assert rescale_images(images, scale).is_contiguous(memory_format=torch.channels_last)


def test_max_normalize_divides_each_map_by_its_own_maximum():
    cam = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 7
    cam[1, 2] = 0
    result = max_normalize(cam)
    for n in range(2):
        for c in range(3):
            top = max(float(v) for v in cam[n, c].flatten())
            torch.testing.assert_close(result[n, c], cam[n, c] / max(top, 1e-5))
    assert (result[1, 2] == 0).all() and result.max() == 1


def test_min_max_normalize_equals_loops():
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps[0, 0] = maps[0, 0].abs() + 2  # a minimum above zero
    maps[1, 2] = 0.7  # constant
    maps[1, 1] = -1
    result = min_max_normalize(maps)
    for n in range(2):
        for c in range(3):
            values = [max(0.0, float(value)) for value in maps[n, c].flatten()]
            low, high = min(values), max(values)
            expected = [max(0.0, value - low - 1e-5) / (high - low + 1e-5) for value in values]
            assert result[n, c].flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert result.dtype == torch.float32 and result.min() >= 0 and result.max() < 1
    assert min_max_normalize(maps[:, :0]).shape == (2, 0, 4, 5)


@pytest.mark.parametrize('shape', [(1, 1, 1, 3), (2, 3, 4, 5), (3, 2, 6, 2)])
def test_min_max_normalize_over_the_positions_inside_equals_loops_forward_and_backward(shape):
    generator = torch.Generator().manual_seed(0)
    maps = (torch.randn(shape, generator=generator, dtype=torch.float64) + 1).requires_grad_()
    inside = torch.rand(shape[0], 1, *shape[2:], generator=generator) < 0.6
    inside[0, 0, 0, :2] = True
    terms, weights = [], torch.randn(shape, generator=generator, dtype=torch.float64)
    result = min_max_normalize(maps, inside=inside)
    for n in range(shape[0]):
        for c in range(shape[1]):
            values = [value.clamp(min=0) for value in maps[n, c][inside[n, 0]]]
            low, high = min(values, key=torch.Tensor.item), max(values, key=torch.Tensor.item)
            expected = torch.stack([(value - low - 1e-5).clamp(min=0) / (high - low + 1e-5) for value in values])
            torch.testing.assert_close(result[n, c][inside[n, 0]].double(), expected, rtol=0, atol=1e-6)
            terms.append((expected * weights[n, c][inside[n, 0]]).sum())
    assert not result.masked_select(~inside).any()
    found, = torch.autograd.grad((result * weights).sum(), maps)
    torch.testing.assert_close(found, torch.autograd.grad(sum(terms), maps)[0], rtol=1e-4, atol=1e-5)


def test_min_max_normalize_with_everything_or_nothing_inside():
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    everything = torch.ones(2, 1, 4, 5, dtype=torch.bool)
    assert torch.equal(min_max_normalize(maps, inside=everything), min_max_normalize(maps))
    nothing = min_max_normalize(maps, inside=~everything)
    assert not nothing.any() and not torch.autograd.grad(nothing.sum(), maps)[0].any()


def test_min_max_normalize_passes_gradient_through_minimum_and_maximum():
    values = torch.tensor([2.0, 3.0, 4.0]).view(1, 1, 3).requires_grad_()
    min_max_normalize(values)[0, 0, 1].backward()  # (b - a) / (c - a)
    assert values.grad.flatten().tolist() == pytest.approx([-0.25, 0.5, -0.25], abs=1e-4)


@pytest.mark.parametrize('size', [(7, 2), (8, 3), (7, 1), (2, 9), (1, 8), (21, 14)])
@pytest.mark.parametrize('scale', [0.3, 0.5, 1.5])
def test_memory_format_does_not_change_rescaled_images(size, scale):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    plain = rescale_images(images, scale)
    torch.testing.assert_close(rescale_images(images.to(memory_format=torch.channels_last), scale), plain)
    torch.testing.assert_close(rescale_images(images.double(), scale).float(), plain)


def test_aligned_resizing_keeps_corners_and_interpolates_between_them():
    maps = torch.tensor([[[[0.0, 4.0], [8.0, 20.0]]]])
    expected = torch.tensor([[[[0.0, 2.0, 4.0], [4.0, 8.0, 12.0], [8.0, 14.0, 20.0]]]])
    torch.testing.assert_close(resize_aligned(maps, (3, 3)), expected)
    assert resize_aligned(maps, (2, 2)) is maps
