"""From class activation maps to scores: the background, which a CAM does not have, gets one.

Both functions take maps in [0, 1] of the K classes present and put a background row in front. A
pixel's label is its largest score, and the background wins ties, so with a constant background a
pixel belongs to a class only where the map *exceeds* the threshold.
"""
import math
from collections.abc import Mapping

import numpy as np

from mmwsss.structures.cam_file import CAMFile, resize_cam
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError

KEYS = {'constant': 'threshold', 'power': 'alpha'}


def score_map_constant(cam: np.ndarray, classes: np.ndarray, threshold: float) -> ScoreMap:
    """Scores with the same background everywhere: ``scores = [threshold; cam]``.

    Args:
        cam: [K, H, W] in [0, 1].
        classes: [K], ids of the maps' classes.
        threshold: The background's score, in [0, 1). It is rounded to float32, as the maps are.

    Returns:
        The scores; with K = 0 everything is background.

    Raises:
        UserError: If the threshold is outside [0, 1).
    """
    _check('threshold', threshold)
    return _with_background(np.full(cam.shape[1:], threshold, np.float32), cam, classes)


def score_map_power(cam: np.ndarray, classes: np.ndarray, alpha: float) -> ScoreMap:
    """Scores with the background where no class is: ``scores = [(1 - max_k cam_k)^alpha; cam]``.

    AffinityNet (Ahn and Kwak, CVPR 2018) eq. 2; also SEAM's. A higher alpha means less background.

    Args:
        cam: [K, H, W] in [0, 1].
        classes: [K], ids of the maps' classes.
        alpha: Exponent, above 0.

    Returns:
        The scores; with K = 0 everything is background (its score is 1).

    Raises:
        UserError: If alpha is not above 0.
    """
    _check('alpha', alpha)
    highest = np.asarray(cam, np.float32).max(axis=0, initial=0)
    return _with_background((1 - highest) ** np.float32(alpha), cam, classes)


def check_background(background: Mapping) -> None:
    """Checks a background config, see :func:`to_score_map`.

    Raises:
        UserError: If the type is unknown, the value is missing, not a number or out of its range,
            or there is any other key.
    """
    kind = background.get('type') if isinstance(background, Mapping) else None
    if kind not in KEYS or set(background) != {'type', KEYS[kind]}:
        raise UserError("background must be dict(type='constant', threshold=<in [0, 1)>) or "
                        f"dict(type='power', alpha=<above 0>), got {background!r}")
    _check(KEYS[kind], background[KEYS[kind]])


def to_score_map(cam_file: CAMFile, background: Mapping) -> ScoreMap:
    """Resizes the maps of a CAM file to the size of its image and adds a background.

    Args:
        cam_file: Its maps are resized in float32 (bilinear, align_corners=False), as
            :class:`mmwsss.evaluation.CAMMetric` resizes them.
        background: ``dict(type='constant', threshold=...)``, see :func:`score_map_constant`, or
            ``dict(type='power', alpha=...)``, see :func:`score_map_power`.

    Returns:
        Scores of the background and the classes of the file, [K + 1, H, W].

    Raises:
        UserError: If ``background`` is not one of the two.
    """
    check_background(background)
    cam = np.asarray(resize_cam(cam_file.cam, cam_file.size), dtype=np.float32)
    if background['type'] == 'constant':
        return score_map_constant(cam, cam_file.classes, background['threshold'])
    return score_map_power(cam, cam_file.classes, background['alpha'])


def _with_background(background: np.ndarray, cam: np.ndarray, classes: np.ndarray) -> ScoreMap:
    scores = np.concatenate([background[None], np.asarray(cam, np.float32)])
    return ScoreMap(scores=scores, classes=np.asarray(classes, np.int64))


def _check(name: str, value: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if name == 'threshold' and not (number and 0 <= value < 1):
        raise UserError(f'the background threshold must be at least 0 and below 1, got {value!r}')
    if name == 'alpha' and not (number and value > 0):
        raise UserError(f'the background exponent alpha must be above 0, got {value!r}')
