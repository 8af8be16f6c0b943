import numpy as np
import pytest
import torch

from mmwsss.postprocessing import defaults
from mmwsss.postprocessing.background import (
    check_background,
    merge_confident,
    needs_saliency,
    score_map_constant,
    score_map_power,
    score_map_saliency,
    score_map_saliency_mean,
    to_score_map,
)
from mmwsss.structures.cam_file import CAMFile
from mmwsss.utils.errors import UserError


def label_constant(cam, classes, threshold):
    """Pixel = argmax class if its value > threshold else background, one pixel after the other."""
    _, height, width = cam.shape
    label = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            best = None
            for k in range(len(classes)):
                if best is None or cam[k, y, x] > cam[best, y, x]:
                    best = k
            if best is not None and float(cam[best, y, x]) > threshold:
                label[y, x] = classes[best] + 1
    return label


def random_cam(seed, num_classes, height, width):
    rng = np.random.default_rng(seed)
    # Few distinct values, so that ties with each other and with the threshold are frequent.
    return (rng.integers(0, 9, (num_classes, height, width)) / 8).astype(np.float32)


@pytest.mark.parametrize('seed, num_classes, height, width', [
    (0, 1, 5, 7), (1, 2, 8, 3), (2, 5, 4, 4), (3, 3, 1, 1), (4, 0, 3, 2),
])
@pytest.mark.parametrize('threshold', [0, 0.125, 0.3, 0.5, 0.99])
def test_constant_equals_definition(seed, num_classes, height, width, threshold):
    cam = random_cam(seed, num_classes, height, width)
    classes = np.sort(np.random.default_rng(seed).permutation(200)[:num_classes])
    scores = score_map_constant(cam, classes, threshold)
    assert scores.scores.shape == (num_classes + 1, height, width)
    assert scores.scores.dtype == np.float32 and scores.classes.dtype == np.int64
    np.testing.assert_array_equal(scores.to_label(), label_constant(cam, classes, threshold))


def test_constant_equality_is_background():
    cam = np.array([[[0.25, 0.250001, 0.2499999]]], np.float32)
    assert score_map_constant(cam, np.array([3]), 0.25).to_label().tolist() == [[0, 4, 0]]


@pytest.mark.parametrize('alpha', [0.5, 1, 4, 24])
def test_power_equals_definition(alpha):
    cam = np.random.default_rng(7).random((3, 6, 5)).astype(np.float32)
    scores = score_map_power(cam, np.array([0, 4, 9]), alpha)
    for y in range(6):
        for x in range(5):
            expected = (1 - max(float(cam[k, y, x]) for k in range(3)))**alpha
            assert scores.scores[0, y, x] == pytest.approx(expected, rel=1e-4, abs=1e-7)
    np.testing.assert_array_equal(scores.scores[1:], cam)
    assert scores.scores.dtype == np.float32


def test_power_of_a_map_that_is_one_but_for_its_rounding():
    cam = np.full((1, 2, 2), np.nextafter(np.float32(1), np.float32(2)))
    np.testing.assert_array_equal(score_map_power(cam, np.array([3]), 2.4).scores[0], np.zeros((2, 2)))


def test_power_higher_alpha_means_less_background():
    cam = np.random.default_rng(8).random((2, 20, 20)).astype(np.float32) * 0.6
    share = [(score_map_power(cam, np.arange(2), alpha).to_label() == 0).mean() for alpha in (1, 4, 24)]
    assert share[0] > share[1] > share[2]


@pytest.mark.parametrize('function, value', [(score_map_constant, 0), (score_map_power, 4)])
def test_no_class_is_all_background(function, value):
    scores = function(np.zeros((0, 3, 4), np.float16), np.zeros(0, np.int64), value)
    assert scores.scores.shape == (1, 3, 4)
    assert not scores.to_label().any()


def test_arguments_stay_as_they_are():
    cam = np.random.default_rng(0).random((2, 3, 3)).astype(np.float16)
    before = cam.copy()
    score_map_constant(cam, np.arange(2), 0.3).scores[:] = 5
    score_map_power(cam, np.arange(2), 2).scores[:] = 5
    np.testing.assert_array_equal(cam, before)


@pytest.mark.parametrize('background', [
    {'type': 'constant', 'threshold': 1}, {'type': 'constant', 'threshold': -0.1},
    {'type': 'constant', 'threshold': float('nan')}, {'type': 'constant', 'threshold': '0.3'},
    {'type': 'constant'}, {'type': 'constant', 'alpha': 4}, {'type': 'power', 'alpha': 0},
    {'type': 'power', 'alpha': float('inf')}, {'type': 'power', 'alpha': 4, 'threshold': 0.1},
    {'type': 'otsu'}, {'threshold': 0.1}, {'type': 'constant', 'threshold': True}, 0.3, None,
])
def test_wrong_background(background):
    with pytest.raises(UserError, match='background'):
        check_background(background)


def test_defaults_are_valid():
    for background in (defaults.DEFAULT_BACKGROUND, *defaults.DEFAULT_CRF_BACKGROUND.values()):
        check_background(background)
    assert set(defaults.DEFAULT_CRF_BACKGROUND) == {'softmax', 'label'}


@pytest.mark.parametrize('background', [{'type': 'constant', 'threshold': 0.4}, {'type': 'power', 'alpha': 3}])
@pytest.mark.parametrize('num_classes, grid, size', [(2, (3, 4), (11, 14)), (1, (1, 1), (1, 1)), (0, (2, 2), (5, 6))])
def test_to_score_map_resizes_in_float32(background, num_classes, grid, size):
    rng = np.random.default_rng(3)
    cam_file = CAMFile(classes=np.arange(num_classes) + 2, cam=rng.random((num_classes, *grid)).astype(np.float16),
                       size=size)
    scores = to_score_map(cam_file, background)
    assert scores.scores.dtype == np.float32 and scores.scores.shape == (num_classes + 1, *size)
    np.testing.assert_array_equal(scores.classes, cam_file.classes)
    if num_classes:
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(cam_file.cam.astype(np.float64))[None], size=size, mode='bilinear')[0].numpy()
        np.testing.assert_allclose(scores.scores[1:], resized, atol=1e-6)
        expected = 0.4 if background['type'] == 'constant' else (1 - resized.max(0))**3
        np.testing.assert_allclose(scores.scores[0], np.broadcast_to(expected, size), atol=1e-5)


def test_to_score_map_rejects_unknown_background():
    cam_file = CAMFile(classes=np.arange(1), cam=np.zeros((1, 2, 2), np.float16), size=(4, 4))
    with pytest.raises(UserError, match='background must be'):
        to_score_map(cam_file, {'type': 'mean'})


def merge_by_loops(high, low, conflict):
    """AffinityNet's rule, IRNet's rule, in the words of their pages, one pixel after the other."""
    label = np.zeros(high.shape, np.uint8)
    for y, x in np.ndindex(high.shape):
        if conflict == 'background':
            label[y, x] = high[y, x]
            if high[y, x] == 0:
                label[y, x] = 255
            if low[y, x] == 0:
                label[y, x] = 0
        elif high[y, x] != 0:
            label[y, x] = high[y, x]
        else:
            label[y, x] = 0 if low[y, x] == 0 else 255
    return label


@pytest.mark.parametrize('conflict', ['background', 'class'])
@pytest.mark.parametrize('seed, size', [(0, (9, 13)), (1, (20, 7)), (2, (1, 1)), (3, (1, 8))])
def test_merge_equals_definition(seed, size, conflict):
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.uint8([0, 0, 1, 5, 254]), (2, *size))
    before = labels.copy()
    merged = merge_confident(*labels, conflict=conflict)
    assert merged.dtype == np.uint8
    np.testing.assert_array_equal(merged, merge_by_loops(*labels, conflict))
    np.testing.assert_array_equal(labels, before)


def test_merge_of_every_pair():
    high, low = np.uint8([[0, 0, 2, 2, 2]]), np.uint8([[0, 3, 0, 2, 3]])
    assert merge_confident(high, low).tolist() == [[0, 255, 0, 2, 2]]
    assert merge_confident(high, low, 'class').tolist() == [[0, 255, 2, 2, 2]]


def test_merge_of_wrong_maps():
    label = np.zeros((2, 3), np.uint8)
    for arguments in ((label, label[:, :1]), (label, label, 'ignore')):
        with pytest.raises(ValueError, match='merge_confident'):
            merge_confident(*arguments)


HIGH, LOW = {'type': 'constant', 'threshold': 0.3}, {'type': 'constant', 'threshold': 0.05}
LARGE, SMALL = {'type': 'power', 'alpha': 24}, {'type': 'power', 'alpha': 4}


def confident(foreground=HIGH, background=LOW, **more):
    return {'type': 'confident', 'foreground': foreground, 'background': background, **more}


@pytest.mark.parametrize('background', [
    confident(), confident(SMALL, LARGE), confident(HIGH, LARGE), confident(HIGH, HIGH), confident(conflict='class'),
])
def test_confident(background):
    check_background(background)
    cam_file = CAMFile(classes=np.arange(1), cam=np.zeros((1, 2, 2), np.float16), size=(4, 4))
    with pytest.raises(UserError, match='two score maps'):
        to_score_map(cam_file, background)


@pytest.mark.parametrize('background, message', [
    (confident(LOW, HIGH), 'more background'), (confident(LARGE, SMALL), 'more background'),
    (confident(0.3), 'background must be'), (confident(background={'type': 'constant'}), 'background must be'),
    (confident({'type': 'constant', 'threshold': 1}), 'threshold'), (confident(confident()), 'cannot hold another'),
    (confident(conflict='ignore'), 'conflict'), (confident(alpha=4), 'takes foreground'),
    ({'type': 'confident', 'foreground': HIGH}, 'takes foreground'), ({'type': 'confident'}, 'takes foreground'),
])
def test_wrong_confident(background, message):
    with pytest.raises(UserError, match=message):
        check_background(background)


@pytest.mark.parametrize('weight', [0.3, 1, 1.5])
def test_saliency_equals_definition(weight):
    rng = np.random.default_rng(3)
    cam, saliency = rng.random((3, 6, 5)).astype(np.float32), rng.integers(0, 256, (6, 5)).astype(np.uint8)
    scores = score_map_saliency(cam, np.array([0, 4, 9]), saliency, weight)
    label = scores.to_label()
    for y in range(6):
        for x in range(5):
            background = weight * (1 - float(saliency[y, x]) / 255)
            assert scores.scores[0, y, x] == pytest.approx(background, rel=1e-5, abs=1e-6)
            best = int(cam[:, y, x].argmax())
            assert label[y, x] == ([0, 4, 9][best] + 1 if cam[best, y, x] > background else 0)


@pytest.mark.parametrize(('threshold', 'share'), [(0.35, 0.7), (0, 0.2), (0.6, 0.5)])
def test_mean_of_saliency_equals_definition(threshold, share):
    rng = np.random.default_rng(4)
    cam, saliency = rng.random((3, 6, 5)).astype(np.float32), rng.integers(0, 256, (6, 5)).astype(np.uint8)
    scores = score_map_saliency_mean(cam, np.array([0, 4, 9]), saliency, threshold, share)
    label = scores.to_label()
    for y in range(6):
        for x in range(5):
            expected = [(1 - share) * float(value) + share * float(saliency[y, x]) / 255 for value in cam[:, y, x]]
            np.testing.assert_allclose(scores.scores[:, y, x], [threshold, *expected], rtol=1e-5)
            best = int(np.argmax(expected))
            assert label[y, x] == ([0, 4, 9][best] + 1 if expected[best] > threshold else 0)
    none = score_map_saliency_mean(cam[:0], np.zeros(0, int), saliency, threshold, share)
    assert not none.to_label().any()
    cam_file = CAMFile(np.array([0, 4, 9]), cam.astype(np.float16), (6, 5))
    background = dict(type='saliency_mean', threshold=threshold, share=share)
    np.testing.assert_allclose(to_score_map(cam_file, background, saliency).scores, scores.scores, atol=1e-3)
    assert needs_saliency(background)
    with pytest.raises(UserError, match='needs a saliency map'):
        to_score_map(cam_file, background)
    with pytest.raises(UserError, match='the saliency map is 2 x 3'):
        to_score_map(cam_file, background, np.zeros((2, 3), np.uint8))
    for wrong, message in ((dict(share=0), 'share'), (dict(share=1), 'share'), (dict(threshold=1), 'threshold'),
                           (dict(weight=1), 'background must be')):
        with pytest.raises(UserError, match=message):
            check_background({**background, **wrong})


def test_saliency_background_of_a_cam_file():
    cam_file = CAMFile(np.array([1]), np.full((1, 1, 1), 0.5, np.float16), (2, 2))
    background = dict(type='saliency', weight=0.8)
    saliency = np.array([[0, 255], [128, 100]], np.uint8)  # backgrounds .8, 0, .398, .486
    assert to_score_map(cam_file, background, saliency).to_label().tolist() == [[0, 2], [2, 2]]
    with pytest.raises(UserError, match='needs a saliency map'):
        to_score_map(cam_file, background)
    with pytest.raises(UserError, match='the saliency map is 2 x 3'):
        to_score_map(cam_file, background, np.zeros((2, 3), np.uint8))
    for wrong in (dict(type='saliency'), dict(type='saliency', weight=0), dict(type='saliency', threshold=0.5)):
        with pytest.raises(UserError, match='background'):
            check_background(wrong)
    parts = dict(foreground=dict(type='saliency', weight=0.8), background=dict(type='saliency', weight=0.3))
    check_background(dict(type='confident', **parts))
    assert needs_saliency(background) and needs_saliency(dict(type='confident', **parts))
    assert not needs_saliency(dict(type='constant', threshold=0.2))
    with pytest.raises(UserError, match='more background'):
        check_background(dict(type='confident', foreground=parts['background'], background=parts['foreground']))
