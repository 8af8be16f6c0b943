import itertools

import numpy as np
import pytest
import torch

from mmwsss.inference.crops import centre_of_mass, crop_images, plan_split, same_format, split_axis, split_boxes, unite


@pytest.mark.parametrize(('grid', 'size'), [((6, 9), (24, 36)), ((5, 4), (19, 13)), ((1, 1), (1, 1)), ((3, 7), (3, 7))])
def test_centre_of_mass(grid, size):
    maps = np.random.default_rng(0).random((3, *grid)) ** 4
    centres = centre_of_mass(torch.from_numpy(maps).float(), size)
    assert centres.dtype == torch.float64
    for k in range(3):
        total = y = x = 0.0
        for i, j in itertools.product(range(grid[0]), range(grid[1])):
            total += maps[k, i, j]
            y += maps[k, i, j] * (i + 0.5) * size[0] / grid[0]
            x += maps[k, i, j] * (j + 0.5) * size[1] / grid[1]
        torch.testing.assert_close(centres[k], torch.tensor([y / total, x / total], dtype=torch.float64), rtol=1e-6,
                                   atol=0)


def test_centre_of_one_position_and_of_nothing():
    maps = torch.zeros(2, 4, 5)
    maps[1, 3, 0] = 1e-3
    centres = centre_of_mass(maps, (40, 50))
    assert centres[0].isnan().all() and centres[1].tolist() == [35, 5]
    assert centre_of_mass(maps[:0], (40, 50)).shape == (0, 2)


@pytest.mark.parametrize(('arguments', 'expected'), [
    (dict(low=30, high=30, length=100), ((0, 30), (30, 100))),
    (dict(low=30, high=30, length=100, overlap=10), ((0, 40), (20, 100))),
    (dict(low=30, high=60, length=100, overlap=5), ((0, 65), (25, 100))),
    (dict(low=5, high=5, length=100, overlap=10), ((0, 15), (0, 100))),  # the released code's start of -5
    (dict(low=3, high=3, length=100, min_size=20), ((0, 20), (3, 100))),
    (dict(low=99.9, high=99.9, length=100, min_size=20, overlap=2), ((0, 100), (80, 100))),
    (dict(low=20, high=20, length=39, min_size=20), ((0, 39), (0, 39))),
    (dict(low=20, high=20, length=40, min_size=20), ((0, 20), (20, 40))),
    (dict(low=30, high=30, length=96, overlap=10, align=32), ((0, 32), (32, 96))),
    (dict(low=10, high=10, length=96, align=32), ((0, 32), (0, 96))),
    (dict(low=45, high=45, length=96, overlap=10, align=32), ((0, 64), (32, 96))),
    # 158 / 32 and 72 / 32 are rounded to 5 and 2, which would leave a gap of 6; the second has lost more.
    (dict(low=158, high=158, length=230, align=32), ((0, 160), (134, 230))),
    (dict(low=34, high=34, length=80, align=32), ((0, 32), (16, 80))),
    (dict(low=0.5, high=0.5, length=1), ((0, 1), (0, 1)))])
def test_split_axis(arguments, expected):
    assert split_axis(**arguments) == expected


@pytest.mark.parametrize('seed', range(30))
def test_intervals_cover_the_axis_and_share_the_rectangle(seed):
    rng = np.random.default_rng(seed)
    length, overlap, min_size = (int(n) for n in (rng.integers(1, 200), rng.integers(0, 25), rng.integers(1, 40)))
    low, high = sorted(rng.uniform(0, length, 2))
    for align in (1, int(rng.integers(2, 50))):
        (zero, end), (start, last) = split_axis(low, high, length, overlap, min_size, align)
        assert zero == 0 and last == length and 0 <= start <= end <= length
        assert min(end, length - start) >= min(min_size, length)
        if align == 1:
            assert start <= max(0, low - overlap) + 0.5 and end >= min(length, high + overlap) - 0.5
        if align == 1 or length < 2 * min_size:
            continue
        wanted = high + overlap, length - low + overlap
        nearest = [max(align * round(n / align), align, min_size) for n in wanted]
        gap = sum(nearest) < length
        for made, n in zip((end, length - start), wanted):
            assert made % align == 0 or made in (min_size, length)
            if n >= max(align, min_size) and made < length:
                assert abs(made - n) < align if gap else abs(made - n) <= align / 2
            elif made < length:
                assert made == max(align, min_size) or gap


def test_one_point_gives_four_quarters():
    boxes = split_boxes(torch.tensor([[30., 50.]]), (80, 120), overlap=10)
    assert boxes == [(0, 0, 40, 60), (0, 40, 40, 120), (20, 0, 80, 60), (20, 40, 80, 120)]


@pytest.mark.parametrize('points', [[[20., 90.], [60., 30.]], [[60., 30.], [20., 90.]], [[60., 90.], [20., 30.]]])
def test_two_points_give_corners_that_hold_the_rectangle(points):
    boxes = split_boxes(torch.tensor(points), (80, 120))
    assert boxes == [(0, 0, 60, 90), (0, 30, 60, 120), (20, 0, 80, 90), (20, 30, 80, 120)]


def test_sides_without_room_are_not_split():
    point = torch.tensor([[0.5, 0.5]])
    assert split_boxes(point, (1, 1), overlap=10, min_size=32) == [(0, 0, 1, 1)]
    assert split_boxes(torch.tensor([[5., 70.]]), (10, 100), min_size=8) == [(0, 0, 10, 70), (0, 70, 10, 100)]


def test_plan_by_number_of_classes():
    size = (100, 100)
    centres = torch.tensor([[40., 50.], [60., 30.], [20., 70.]], dtype=torch.float64)
    assert plan_split(centres[:0], size) == {}
    assert plan_split(centres[:1], size, overlap=(5, 9)) == {
        (0, 0, 45, 55): [0], (0, 45, 45, 100): [0], (35, 0, 100, 55): [0], (35, 45, 100, 100): [0]}
    assert plan_split(centres[:2], size, overlap=(5, 9)) == {
        (0, 0, 69, 59): [0, 1], (0, 21, 69, 100): [0, 1], (31, 0, 100, 59): [0, 1], (31, 21, 100, 100): [0, 1]}
    plan = plan_split(centres, size, overlap=(5, 9))
    assert len(plan) == 12
    for k in range(3):
        assert [box for box, classes in plan.items() if classes == [k]] == split_boxes(centres[k:k + 1], size, 5)
    assert plan_split(centres, size, separate=False) == {(0, 0, 100, 100): [0, 1, 2]}


def test_plan_shares_equal_boxes():
    centres = torch.tensor([[40., 50.], [40., 50.], [40., 20.]])
    plan = plan_split(centres, (100, 100))
    assert len(plan) == 8 and plan[0, 0, 40, 50] == [0, 1] and plan[0, 0, 40, 20] == [2]
    # Rounded to half the image, the third one has the left patches in common with them.
    plan = plan_split(centres, (100, 100), align=50)
    assert plan[0, 0, 50, 50] == plan[50, 0, 100, 50] == [0, 1, 2] and plan[0, 50, 50, 100] == [0, 1] and len(plan) == 6


def test_plan_with_empty_maps():
    nowhere, size, whole = [float('nan')] * 2, (100, 100), (0, 0, 100, 100)
    assert plan_split(torch.tensor([nowhere]), size) == {whole: [0]}
    assert plan_split(torch.tensor([nowhere] * 3), size) == {whole: [0, 1, 2]}
    two = plan_split(torch.tensor([nowhere, [40., 50.]]), size, overlap=(5, 9))
    assert list(two) == split_boxes(torch.tensor([[40., 50.]]), size, 5) and set(map(tuple, two.values())) == {(0, 1)}
    three = plan_split(torch.tensor([[40., 50.], nowhere, [40., 50.]]), size)
    assert three[whole] == [1] and len(three) == 5 and three[0, 0, 40, 50] == [0, 2]


def test_crops_are_parts_of_their_images():
    images = torch.arange(2 * 3 * 8 * 9).reshape(2, 3, 8, 9)
    boxes = [(0, 0, 4, 5), (4, 4, 8, 9), (1, 2, 5, 7)]
    patches = crop_images(images, [1, 0, 1], boxes)
    for patch, n, (top, left, bottom, right) in zip(patches, [1, 0, 1], boxes):
        assert torch.equal(patch, images[n, :, top:bottom, left:right])


@pytest.mark.parametrize('memory_format', [torch.channels_last, torch.contiguous_format])
def test_memory_format_is_kept(memory_format):
    images = torch.rand(2, 3, 8, 9).contiguous(memory_format=memory_format)
    for count in (1, 3):
        patches = crop_images(images, [1] * count, [(0, 0, 4, 5)] * count)
        assert patches.is_contiguous(memory_format=memory_format)
    assert same_format(torch.rand(2, 3, 4, 4), images).is_contiguous(memory_format=memory_format)


def test_unite_takes_the_maximum_where_patches_overlap():
    rng = torch.Generator().manual_seed(0)
    size, plan = (7, 9), {(0, 0, 5, 6): [0, 2], (2, 3, 7, 9): [0, 2], (0, 0, 7, 9): [1], (4, 0, 7, 4): [2]}
    maps = {box: torch.rand(len(classes), box[2] - box[0], box[3] - box[1], generator=rng)
            for box, classes in plan.items()}
    united = unite(plan, maps, 4, size)
    for k, y, x in itertools.product(range(4), range(7), range(9)):
        values = [float(maps[box][classes.index(k), y - box[0], x - box[1]]) for box, classes in plan.items()
                  if k in classes and box[0] <= y < box[2] and box[1] <= x < box[3]]
        assert float(united[k, y, x]) == max(values, default=0.0)


def test_unite_resizes_maps_of_patches():
    united = unite({(0, 0, 4, 8): [0], (4, 0, 8, 8): [0]},
                   {(0, 0, 4, 8): torch.full((1, 1, 2), 3.), (4, 0, 8, 8): torch.tensor([[[0., 1.]]])}, 1, (8, 8))
    assert (united[0, :4] == 3).all()
    torch.testing.assert_close(united[0, 5], torch.tensor([0, 0, .125, .375, .625, .875, 1, 1]))
