import numpy as np
import pytest

from mmwsss.evaluation.breakdown import (
    ERRORS,
    IMAGE_COLUMNS,
    breakdown,
    breakdown_table,
    error_shares,
    group_of,
    image_row,
    num_classes_in,
)
from mmwsss.evaluation.label_metrics import confusion_matrix

CLASSES = tuple('abcd')


def pair(seed, classes):
    """A mask with some classes, and a prediction that is right in half of the pixels."""
    rng = np.random.default_rng(seed)
    gt = rng.choice([0, *classes, 255], (9, 11)).astype(np.uint8)
    noise = rng.choice([0, 1, 2, 3, 4, 255], (9, 11)).astype(np.uint8)
    return np.where(rng.random((9, 11)) < .5, np.where(gt == 255, 0, gt), noise).astype(np.uint8), gt


@pytest.fixture
def images():
    shown = [(1,), (2,), (1, 2), (3, 4), (1, 2, 3), (1, 2, 3, 4), ()]
    return {f'img{i}': pair(i, classes) for i, classes in enumerate(shown)}


def slow_shares(pairs):
    """Pixel by pixel."""
    counts, total = dict.fromkeys(ERRORS, 0), 0
    for pred, gt in pairs:
        for p, g in zip(pred.ravel().tolist(), gt.ravel().tolist()):
            if g == 255:
                continue
            total += 1
            counts['wrong_class'] += g > 0 and 0 < p < 255 and p != g
            counts['missed'] += g > 0 and p in (0, 255)
            counts['false_foreground'] += g == 0 and 0 < p < 255
    return {name: count / total for name, count in counts.items()}


def slow_miou(pairs):
    ious = []
    for k in range(5):
        inter = sum(((p == k) & (g == k)).sum() for p, g in pairs)
        union = sum((((p == k) | (g == k)) & (g != 255)).sum() for p, g in pairs)
        if union:
            ious.append(inter / union)
    return np.mean(ious)


def matrices(images):
    return {stem: confusion_matrix(pred, gt, 4) for stem, (pred, gt) in images.items()}


def test_shares_and_groups_against_loops(images):
    found = breakdown(matrices(images), CLASSES)
    assert found['errors'] == pytest.approx(slow_shares(images.values()))
    assert found['mIoU'] == pytest.approx(slow_miou(list(images.values())))
    assert found['num_images'] == 7 and list(found['per_class']) == ['background', *CLASSES]
    for name, stems in (('1', (0, 1)), ('2', (2, 3)), ('3+', (4, 5))):
        pairs = [images[f'img{i}'] for i in stems]
        group = found['by_num_classes'][name]
        assert group['num_images'] == 2
        assert group['mIoU'] == pytest.approx(slow_miou(pairs))
        assert group['errors'] == pytest.approx(slow_shares(pairs))


def test_the_errors_and_the_right_pixels_are_all(images):
    for pred, gt in images.values():
        shares = error_shares(confusion_matrix(pred, gt, 4))
        labelled = gt != 255
        # Background without prediction is a miss of no class.
        right = ((pred == gt) | ((gt == 0) & (pred == 255)))[labelled].mean()
        assert sum(shares.values()) + right == pytest.approx(1)


def test_figures_of_an_image(images):
    for stem, (pred, gt) in images.items():
        row = image_row(stem, confusion_matrix(pred, gt, 4))
        assert tuple(row) == IMAGE_COLUMNS and row['image'] == stem
        labelled = gt != 255
        predicted, there = labelled & (pred > 0) & (pred < 255), labelled & (gt > 0)
        right = (predicted & (pred == gt)).sum()
        assert row['precision'] == pytest.approx(right / predicted.sum())
        assert row['recall'] == (pytest.approx(right / there.sum()) if there.any() else None)
        assert row['mIoU'] == pytest.approx(slow_miou([(pred, gt)]))
        assert row['classes'] == len(set(gt[labelled].tolist()) - {0})


def test_nothing_to_evaluate():
    empty = confusion_matrix(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8), 4)
    assert error_shares(empty) == dict.fromkeys(ERRORS) and group_of(empty) is None and num_classes_in(empty) == 0
    row = image_row('a', empty)
    assert row['mIoU'] is row['precision'] is row['recall'] is None
    found = breakdown({'a': empty}, CLASSES)
    assert found['mIoU'] is None and found['by_num_classes']['1'] == dict(num_images=0, mIoU=None, errors=None)
    assert breakdown_table(found, '[title]').row_count == 4
