import pytest
import torch

from mmwsss.models.utils.label_grid import central_labels, most_frequent_labels, pool_to_grid, upsample_from_grid

SIZES = [(1, 1), (3, 9), (8, 8), (10, 5), (13, 16)]


def cells(size, stride):
    """(row, column, the cell's pixels) of the grid."""
    for i in range(-(-size[0] // stride)):
        for j in range(-(-size[1] // stride)):
            yield i, j, [(y, x) for y in range(i * stride, min((i + 1) * stride, size[0]))
                         for x in range(j * stride, min((j + 1) * stride, size[1]))]


def grid(size, stride):
    return -(-size[0] // stride), -(-size[1] // stride)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('stride', [1, 3, 4, 8])
def test_means_and_most_frequent_labels_of_cells(size, stride):
    generator = torch.Generator().manual_seed(stride)
    maps = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 4, 7, 255])[torch.randint(0, 5, (2, *size), generator=generator)]
    means, frequent = pool_to_grid(maps, stride), most_frequent_labels(labels, stride)
    assert means.shape == (2, 3, *grid(size, stride)) and frequent.shape == (2, *grid(size, stride))
    assert frequent.dtype == labels.dtype
    for i, j, pixels in cells(size, stride):
        for n in range(2):
            inside = [int(labels[n, y, x]) for y, x in pixels]
            assert int(frequent[n, i, j]) == max(sorted(set(inside)), key=inside.count)
            for c in range(3):
                expected = sum(float(maps[n, c, y, x]) for y, x in pixels) / len(pixels)
                assert float(means[n, c, i, j]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('stride', [1, 3, 4, 8])
def test_central_labels_of_cells(size, stride):
    labels = torch.arange(size[0] * size[1]).view(1, *size)
    central = central_labels(labels, stride)
    assert central.shape == (1, *grid(size, stride))
    for i, j, pixels in cells(size, stride):
        centre = [min(side - 1, k * stride + stride // 2) for side, k in zip(size, (i, j))]
        assert int(central[0, i, j]) == int(labels[(0, *centre)]) and tuple(centre) in pixels


def test_central_labels_are_those_of_a_nearest_resize_by_pillow():
    """IRNet's way, for sizes that the stride divides."""
    image = pytest.importorskip('PIL.Image')
    labels = torch.randint(0, 200, (24, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    small = image.fromarray(labels.numpy()).resize((8, 6), resample=image.Resampling.NEAREST)
    assert central_labels(labels[None], 4)[0].tolist() == torch.tensor(list(small.getdata())).view(6, 8).tolist()


def test_upsampled_cells_stay_over_their_pixels():
    ramp = pool_to_grid(torch.arange(27.0).view(1, 1, 27, 1).expand(1, 1, 27, 10), 4)
    ramp[..., -1, :] = 25.5  # the mean of rows 24 to 27, of which the image has three
    image = upsample_from_grid(ramp, 4, (27, 10))
    assert image.shape == (1, 1, 27, 10)
    torch.testing.assert_close(image[0, 0, 2:26, 0], torch.arange(2.0, 26.0))
    torch.testing.assert_close(pool_to_grid(image, 4)[0, 0, 1:-1, 0], ramp[0, 0, 1:-1, 0])


def test_upsampled_maps_keep_their_place():
    """A map that is linear in the pixels stays so, whatever is cropped."""
    rows = 8 * torch.arange(4.0).view(1, 1, 4, 1).expand(1, 1, 4, 3) + 3.5  # centres of cells of 8 pixels
    enlarged = upsample_from_grid(rows, 8, (27, 24))
    assert enlarged.shape == (1, 1, 27, 24)
    torch.testing.assert_close(enlarged[0, 0, 4:, 0], torch.arange(4.0, 27.0))
    assert torch.equal(upsample_from_grid(rows, 1, (3, 2)), rows[..., :3, :2])


def test_no_maps():
    assert pool_to_grid(torch.zeros(2, 0, 9, 5), 4).shape == (2, 0, 3, 2)
    assert upsample_from_grid(torch.zeros(2, 0, 3, 2), 4, (9, 5)).shape == (2, 0, 9, 5)
