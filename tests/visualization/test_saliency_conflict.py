import cv2
import numpy as np
import pytest

from mmwsss.visualization import (
    LabelledImage,
    conflict_map,
    conflict_temperature,
    draw_saliency_conflict,
    histogram,
    plot_histogram,
)
from mmwsss.visualization.saliency_conflict import CONFLICTS

RNG = np.random.default_rng(0)


def maps(size=(9, 7)):
    label = RNG.choice(np.array([0, 0, 1, 2, 255], np.uint8), size)
    return label, RNG.integers(0, 256, size, dtype=np.uint8)


def test_map_and_temperature_equal_loops():
    for size in ((1, 1), (9, 7), (20, 30)):
        label, saliency = maps(size)
        label[0, 0], saliency[0, 0] = 0, 127  # the last value that is not salient
        kinds, hits, unions = conflict_map(label, saliency), [0, 0], [0, 0]
        assert kinds.dtype == np.uint8
        for y in range(size[0]):
            for x in range(size[1]):
                is_object, is_salient = label[y, x] != 0, saliency[y, x] >= 128
                if label[y, x] == 255:
                    assert kinds[y, x] == 255
                    continue
                assert kinds[y, x] == (0 if is_object == is_salient else 1 if is_salient else 2)
                for wanted in (0, 1):
                    hits[wanted] += is_object == is_salient == wanted
                    unions[wanted] += wanted in (is_object, is_salient)
        ious = [hit / union for hit, union in zip(hits, unions) if union]
        assert conflict_temperature(label, saliency) == pytest.approx(sum(ious) / len(ious))


def test_picture_shows_the_two_conflicts_in_their_colours():
    image = np.full((40, 60, 3), 128, np.uint8)
    image[:, 30:] = 200  # so that the JPEG-like grey in the back differs
    label, saliency = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    label[:20, :30], label[30:, :] = 2, 255
    saliency[:20, 15:45] = 255
    sheet = draw_saliency_conflict([LabelledImage('cow 1', image, label, saliency)] * 2, ('cat', 'cow'), height=40)
    step = 40 + 6 + 18
    for top in (6 + 18 + 18, 6 + 18 + 18 + step):
        cells = [sheet[top:top + 40, left:left + 60] for left in range(6, 6 + 4 * 66, 66)]
        assert np.array_equal(cells[0], image) and np.array_equal(cells[2][..., 0], saliency)
        for (rows, columns), colour in (((slice(0, 20), slice(0, 15)), CONFLICTS['labelled object, but not salient']),
                                        ((slice(0, 20), slice(30, 45)), CONFLICTS['salient, but labelled background'])):
            drawn, back = cells[3][rows, columns].astype(float), image[rows, columns].astype(float)
            assert np.abs(drawn - (.25 * back + .75 * np.array(colour))).max() <= 1
        for rows, columns in ((slice(0, 20), slice(15, 30)), (slice(20, 30), slice(0, 60))):
            assert np.array_equal(cells[3][rows, columns], image[rows, columns])  # they agree
        assert (cells[3][30:] == 255).all(axis=2).any()  # hatched
    assert sheet.shape[0] > 6 + 18 + 2 * step  # the colours' names are below


def test_picture_of_any_size():
    items = [LabelledImage('a', RNG.integers(0, 256, (*size, 3), dtype=np.uint8), *maps(size))
             for size in ((1, 1), (3, 90), (90, 3))]
    assert draw_saliency_conflict(items, ('cat', 'cow'), height=32).dtype == np.uint8
    with pytest.raises(ValueError, match='no colour'):
        draw_saliency_conflict(items[1:2], ('cat',))


def test_histogram_counts_every_image_once(tmp_path):
    values = [0, 0.049, 0.05, 0.3, 0.15, 0.999, 1.0, 1.0]
    report = histogram(values)
    assert report['bin_edges'] == [round(0.05 * i, 2) for i in range(21)]
    expected = [0] * 20
    for value in values:
        expected[min(19, int(value * 100 + 1e-9) // 5)] += 1
    assert report['counts'] == expected and sum(expected) == report['num_images'] == 8
    assert report['mean'] == pytest.approx(sum(values) / 8)
    plot_histogram(report, tmp_path / 'new/tau.png', 'title')
    assert cv2.imread(str(tmp_path / 'new/tau.png')).shape == (432, 720, 3)
    with pytest.raises(ValueError, match='histogram'):
        histogram([])
