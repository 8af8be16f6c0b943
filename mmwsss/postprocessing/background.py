"""From class activation maps to scores: the background, which a CAM does not have, gets one.

``score_map_*`` take maps in [0, 1] of the K classes present and put a background row in front. A
pixel's label is its largest score, and the background wins ties, so with a constant background a
pixel belongs to a class only where the map *exceeds* the threshold.

Labels made with a high and with a low background can be merged (:func:`merge_confident`): pixels on
which they disagree are in doubt, and ignored. AffinityNet and IRNet are trained with such labels.
"""
import math
from collections.abc import Iterable, Mapping

import numpy as np

from mmwsss.structures.cam_file import CAMFile
from mmwsss.structures.label_file import IGNORE
from mmwsss.structures.maps import resize_cam
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError

# The options of every kind; the first says how high the background is.
KEYS = {'constant': ('threshold',), 'power': ('alpha',), 'saliency': ('weight',),
        'saliency_mean': ('threshold', 'share')}
SALIENCY_KINDS = ('saliency', 'saliency_mean')
CONFLICTS = ('background', 'class')
# Labels in which every pixel is a class: textures, tissue, land cover.
NO_BACKGROUND = 'none'
# A constant one that is chosen from the CAMs of a data set, see choose_threshold.
AUTO = 'auto'


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
    # A map that was resized may be above 1 by its rounding: a power of a negative number is NaN.
    return _with_background(np.maximum(1 - highest, 0) ** np.float32(alpha), cam, classes)


def score_map_saliency(cam: np.ndarray, classes: np.ndarray, saliency: np.ndarray, weight: float) -> ScoreMap:
    """Scores with the background where nothing is salient: ``scores = [weight (1 - saliency); cam]``.

    What saliency-guided methods do before they train (InferCam, section 3.3 and figure 6, top).

    Args:
        cam: [K, H, W] in [0, 1].
        classes: [K], ids of the maps' classes.
        saliency: uint8 [H, W], 255 = salient.
        weight: Above 0.

    Returns:
        The scores.

    Raises:
        UserError: If the weight is not above 0, or the saliency of another size.
    """
    _check('weight', weight)
    _check_saliency_size(saliency, cam)
    return _with_background(np.float32(weight) * (1 - saliency.astype(np.float32) / 255), cam, classes)


def score_map_saliency_mean(cam: np.ndarray, classes: np.ndarray, saliency: np.ndarray, threshold: float,
                            share: float) -> ScoreMap:
    """Scores of the mean of CAM and saliency: ``scores = [threshold; (1 - share) cam + share saliency]``.

    The class of a pixel is that of the CAM; how far the objects reach is said by both. Not from a paper.

    Args:
        cam: [K, H, W] in [0, 1].
        classes: [K], ids of the maps' classes.
        saliency: uint8 [H, W], 255 = salient.
        threshold: The background's score, in [0, 1).
        share: Weight of the saliency, above 0 and below 1.

    Returns:
        The scores; with K = 0 everything is background.

    Raises:
        UserError: If threshold or share is out of its range, or the saliency of another size.
    """
    _check('share', share)
    _check_saliency_size(saliency, cam)
    mean = np.float32(1 - share) * np.asarray(cam, np.float32) + np.float32(share) * (saliency.astype(np.float32) / 255)
    return score_map_constant(mean, classes, threshold)


def needs_saliency(background: Mapping) -> bool:
    """Whether a background, or a part of it, is made from saliency maps."""
    parts = [background, *(background.get(name) for name in ('foreground', 'background'))]
    return any(isinstance(part, Mapping) and part.get('type') in SALIENCY_KINDS for part in parts)


def merge_confident(high_background: np.ndarray, low_background: np.ndarray,
                    conflict: str = 'background') -> np.ndarray:
    """Keeps the confident pixels of two label maps of one image; the others become 255, ignore.

    A class that is there under a high background is confident, and so is a background that is there under a low one::

        label = high_background;  255 where that is background;  0 where low_background is background

    AffinityNet (Ahn and Kwak, CVPR 2018) and IRNet (Ahn et al., CVPR 2019), as they were released. They differ where
    a pixel is a class under the *high* background and background under the low one, which only a post-processor such as
    a CRF can bring about: to AffinityNet it is background, to IRNet the class.

    Args:
        high_background: [H, W], 0 background, k + 1 for class k.
        low_background: [H, W], likewise.
        conflict: ``'background'`` or ``'class'``: what a pixel of the last kind becomes.

    Returns:
        uint8 [H, W]: 0 background, k + 1 for class k, 255 ignore. Where both maps are background, it is background.

    Raises:
        ValueError: If the maps differ in size, or ``conflict`` is neither.
    """
    if high_background.shape != low_background.shape or conflict not in CONFLICTS:
        raise ValueError(f'merge_confident: got maps of {high_background.shape} and {low_background.shape}, and '
                         f'conflict={conflict!r}; it must be one of {CONFLICTS}, the maps of one size')
    is_background = low_background == 0
    if conflict == 'class':
        is_background &= high_background == 0
    label = np.where(high_background == 0, IGNORE, high_background).astype(np.uint8)
    label[is_background] = 0
    return label


def choose_threshold(maxima: Iterable[np.ndarray]) -> float:
    """Chooses the constant background of a data set without masks: the mean of the CAMs' maxima over the classes.

    It says how much of the images the maps fill: wide maps get a higher threshold than narrow ones. docs/report.md
    compares it with the best threshold, with constants, and with other rules.

    Args:
        maxima: For each image the highest of its maps, [h, w] in [0, 1]; every image counts as much.

    Returns:
        The threshold, in [0, 1), to two decimals.

    Raises:
        ValueError: If there is no image.
    """
    means = [float(np.mean(maximum, dtype=np.float64)) for maximum in maxima]
    if not means:
        raise ValueError('choose_threshold: no maps')
    return min(round(math.fsum(means) / len(means), 2), 0.99)


def check_background(background: Mapping) -> None:
    """Checks a background config, see :func:`mmwsss.postprocessing.pseudo_label`.

    Raises:
        UserError: If the type is unknown, the value is missing, not a number or out of its range,
            or there is any other key; if of two backgrounds the one for the foreground is the lower one.
    """
    if isinstance(background, Mapping) and background.get('type') == 'confident':
        _check_confident(background)
        return
    kind = background.get('type') if isinstance(background, Mapping) else None
    if kind in (NO_BACKGROUND, AUTO) and set(background) <= {'type', 'threshold'}:  # that of a base config goes
        return
    if kind not in KEYS or set(background) != {'type', *KEYS[kind]}:
        raise UserError("background must be dict(type='constant', threshold=<in [0, 1)>), dict(type='auto'), "
                        "dict(type='none'), dict(type='power', alpha=<above 0>), "
                        "dict(type='saliency', weight=<above 0>), "
                        "dict(type='saliency_mean', threshold=<in [0, 1)>, share=<in (0, 1)>) or "
                        "dict(type='confident', foreground=<one of these>, "
                        f'background=<one of these>), got {background!r}')
    for name in KEYS[kind]:
        _check(name, background[name])


def _check_confident(config: Mapping) -> None:
    conflict = config.get('conflict', 'background')
    if set(config) - {'conflict'} != {'type', 'foreground', 'background'} or conflict not in CONFLICTS:
        raise UserError("background of type 'confident' takes foreground=<a background>, background=<a background> "
                        f"and conflict='background' or 'class', got {config!r}")
    parts = [config['foreground'], config['background']]
    for part in parts:
        check_background(part)
        if part['type'] not in KEYS:
            raise UserError("background of type 'confident' cannot hold another one, 'auto' or 'none', got "
                            f'{config!r}')
    kind = parts[0]['type']
    if parts[1]['type'] == kind:
        much, little = (part[KEYS[kind][0]] for part in parts)
        # A higher threshold or weight is more background, a higher exponent less.
        if much > little if kind == 'power' else much < little:
            raise UserError("background of type 'confident': its foreground must be told by more background, that is "
                            f'by a higher threshold or weight, or a lower alpha, than its background, got {config!r}')


def to_score_map(cam_file: CAMFile, background: Mapping, saliency: np.ndarray | None = None) -> ScoreMap:
    """Resizes the maps of a CAM file to the size of its image and adds a background.

    Args:
        cam_file: Its maps are resized in float32 (bilinear, align_corners=False), as
            :class:`mmwsss.evaluation.CAMMetric` resizes them.
        background: ``dict(type='constant', threshold=...)``, see :func:`score_map_constant`,
            ``dict(type='power', alpha=...)``, see :func:`score_map_power`, ``dict(type='saliency', weight=...)``, see
            :func:`score_map_saliency`, ``dict(type='saliency_mean', threshold=..., share=...)``, see
            :func:`score_map_saliency_mean`, or ``dict(type='none')``, the lowest there is.
        saliency: For the two of saliency: uint8 [H, W].

    Returns:
        Scores of the background and the classes of the file, [K + 1, H, W].

    Raises:
        UserError: If ``background`` is none of these, or there is no saliency for it.
    """
    check_background(background)
    if background['type'] == 'confident':
        raise UserError("background of type 'confident' makes two score maps; give one of its parts")
    if background['type'] == AUTO:
        raise UserError("background of type 'auto' is chosen for a whole folder of CAMs (mmwsss label, a pipeline); "
                        'give a threshold')
    cam = np.asarray(resize_cam(cam_file.cam, cam_file.size), dtype=np.float32)
    if background['type'] == NO_BACKGROUND:
        return score_map_constant(cam, cam_file.classes, 0.)
    if background['type'] == 'constant':
        return score_map_constant(cam, cam_file.classes, background['threshold'])
    if background['type'] in SALIENCY_KINDS:
        if saliency is None:
            raise UserError(f'background of type {background["type"]!r} needs a saliency map; make labels from CAM '
                            'files with mmwsss label, and saliency maps with mmwsss saliency')
        make = score_map_saliency if background['type'] == 'saliency' else score_map_saliency_mean
        return make(cam, cam_file.classes, saliency, **{name: background[name] for name in KEYS[background['type']]})
    return score_map_power(cam, cam_file.classes, background['alpha'])


def _with_background(background: np.ndarray, cam: np.ndarray, classes: np.ndarray) -> ScoreMap:
    scores = np.concatenate([background[None], np.asarray(cam, np.float32)])
    return ScoreMap(scores=scores, classes=np.asarray(classes, np.int64))


def _check_saliency_size(saliency: np.ndarray, cam: np.ndarray) -> None:
    if saliency.shape != cam.shape[1:]:
        raise UserError(f'the saliency map is {saliency.shape[0]} x {saliency.shape[1]} (height x width), but the '
                        f'image {cam.shape[1]} x {cam.shape[2]}; make it again')


def _check(name: str, value: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if name == 'threshold' and not (number and 0 <= value < 1):
        raise UserError(f'the background threshold must be at least 0 and below 1, got {value!r}')
    if name == 'share' and not (number and 0 < value < 1):
        raise UserError(f'the share of the saliency must be above 0 and below 1, got {value!r}')
    if name in ('alpha', 'weight') and not (number and value > 0):
        raise UserError(f"the background {'exponent alpha' if name == 'alpha' else 'weight'} must be above 0, got "
                        f'{value!r}')
