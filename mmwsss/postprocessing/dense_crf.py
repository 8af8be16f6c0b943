"""Dense CRF: mean-field inference in a fully connected conditional random field.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials",
NIPS 2011. The message passing is pydensecrf's (an optional dependency).
"""
import importlib
import math
from types import ModuleType

import numpy as np

from mmwsss.postprocessing.base import check_image
from mmwsss.registry import POSTPROCESSORS
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError

# Scores below it count as it, so that no class is ruled out by a single score of 0.
MIN_SCORE = 1e-5
# Published parameters, by the kind of the unary. Those of AffinityNet and SEAM, and those of IRNet.
CRF_PRESETS = {
    'softmax': dict(unary='softmax', iterations=10, gaussian_sxy=3, gaussian_compat=3, bilateral_sxy=80,
                    bilateral_srgb=13, bilateral_compat=10),
    'label': dict(unary='label', gt_prob=0.7, iterations=10, gaussian_sxy=3, gaussian_compat=3, bilateral_sxy=50,
                  bilateral_srgb=5, bilateral_compat=10),
}


def unary_from_scores(scores: np.ndarray) -> np.ndarray:
    """Unary energies -log(score): the scores are taken for probabilities.

    A factor common to all scores of a pixel changes nothing in the CRF, so they need not sum to 1.

    Args:
        scores: [L, H, W], non-negative.

    Returns:
        float32 [L, H * W].
    """
    return -np.log(np.maximum(scores, MIN_SCORE)).reshape(len(scores), -1).astype(np.float32)


def unary_from_hard_labels(scores: np.ndarray, gt_prob: float) -> np.ndarray:
    """Unary energies of the label map ``argmax(scores)``, trusted with probability ``gt_prob``.

    -log(gt_prob) for a pixel's label, -log((1 - gt_prob) / (L - 1)) for every other.

    Args:
        scores: [L, H, W], L >= 2; a tie goes to the first.
        gt_prob: Between 0 and 1.

    Returns:
        float32 [L, H * W].
    """
    num_labels = len(scores)
    is_label = scores.argmax(axis=0).reshape(1, -1) == np.arange(num_labels)[:, None]
    other = (1 - gt_prob) / (num_labels - 1)
    return np.where(is_label, -math.log(gt_prob), -math.log(other)).astype(np.float32)


def dense_crf(image: np.ndarray,
              scores: np.ndarray,
              *,
              unary: str = 'softmax',
              gt_prob: float = 0.7,
              iterations: int = 10,
              gaussian_sxy: float = 3,
              gaussian_compat: float = 3,
              bilateral_sxy: float = 80,
              bilateral_srgb: float = 13,
              bilateral_compat: float = 10,
              scale_factor: float = 1) -> np.ndarray:
    """Probabilities of the labels after mean-field inference.

    With p_i, c_i the position (pixels) and colour (0-255) of pixel i, both sxy divided by
    ``scale_factor``, and U the unary energies::

        k_g(i, j) = exp(-|p_i - p_j|^2 / (2 sxy_g^2))
        k_b(i, j) = exp(-|p_i - p_j|^2 / (2 sxy_b^2) - |c_i - c_j|^2 / (2 srgb^2))
        K(i, j)   = k(i, j) / sqrt(sum_j' k(i, j')) / sqrt(sum_i' k(i', j))      for each of the two
        Q_i       = softmax(-U_i),  then ``iterations`` times
        Q_i       = softmax(-U_i + sum_j (compat_g K_g(i, j) + compat_b K_b(i, j)) Q_j)

    (eq. 4 and 3 of the paper with the Potts model; all pixels at once; pydensecrf sums over a
    permutohedral lattice, an approximation, and includes j = i.) Deterministic.

    Args:
        image: uint8 [H, W, 3].
        scores: Non-negative scores of the background and the classes present, [L, H, W]. They
            alone compete: absent classes have no row.
        unary: 'softmax', see :func:`unary_from_scores`, or 'label', see
            :func:`unary_from_hard_labels`.
        gt_prob: Trust in the labels; used by 'label' alone.
        iterations: Mean-field iterations; 0 gives the softmax of the unaries.
        gaussian_sxy: Standard deviation of the smoothness kernel, in pixels.
        gaussian_compat: Its weight; 0 leaves it out.
        bilateral_sxy: Standard deviation in position of the appearance kernel, in pixels.
        bilateral_srgb: Standard deviation in colour of the appearance kernel, in grey levels.
        bilateral_compat: Its weight; 0 leaves it out.
        scale_factor: Divides both ``sxy``; above 1 for images smaller than those that the
            parameters were chosen on (PASCAL VOC, long side 500 pixels).

    Returns:
        float32 [L, H, W], sums to 1 over L.

    Raises:
        UserError: If the sizes of image and scores differ, a score is negative or not finite, a
            parameter is out of its range, or pydensecrf is not installed.
    """
    _check_parameters(unary=unary, gt_prob=gt_prob, iterations=iterations, gaussian_sxy=gaussian_sxy,
                      gaussian_compat=gaussian_compat, bilateral_sxy=bilateral_sxy,
                      bilateral_srgb=bilateral_srgb, bilateral_compat=bilateral_compat,
                      scale_factor=scale_factor)
    scores = np.asarray(scores, np.float32)
    check_image(ScoreMap(scores, np.arange(len(scores) - 1)), image)
    if not (np.isfinite(scores).all() and (scores >= 0).all()):
        raise UserError('the scores for the dense CRF must be finite and not negative')
    num_labels, height, width = scores.shape
    if num_labels == 1:
        return np.ones((1, height, width), np.float32)
    densecrf = import_pydensecrf()
    energy = unary_from_scores(scores) if unary == 'softmax' else unary_from_hard_labels(scores, gt_prob)
    crf = densecrf.DenseCRF2D(width, height, num_labels)
    crf.setUnaryEnergy(np.ascontiguousarray(energy))
    if gaussian_compat > 0:
        crf.addPairwiseGaussian(sxy=gaussian_sxy / scale_factor, compat=gaussian_compat)
    if bilateral_compat > 0:
        crf.addPairwiseBilateral(sxy=bilateral_sxy / scale_factor, srgb=bilateral_srgb,
                                 rgbim=np.require(image, requirements='CW'), compat=bilateral_compat)
    return np.array(crf.inference(iterations), np.float32).reshape(num_labels, height, width)


def leading_labels(scores: np.ndarray) -> np.ndarray:
    """Returns the labels that are the largest score of at least one pixel.

    Args:
        scores: [L, H, W]; a tie goes to the first.

    Returns:
        Increasing numbers of rows.
    """
    return np.unique(scores.argmax(axis=0))


@POSTPROCESSORS.register_module()
class DenseCRF:
    """Post-processor: replaces the scores by the probabilities of :func:`dense_crf`.

    The defaults are those of AffinityNet and SEAM, ``CRF_PRESETS['softmax']``; ``DenseCRF(**CRF_PRESETS['label'])`` is
    IRNet's. As configs: ``configs/_base_/postprocessing/crf_softmax.py`` and ``crf_label.py``.

    Args:
        unary, gt_prob, iterations, gaussian_sxy, gaussian_compat, bilateral_sxy, bilateral_srgb, bilateral_compat,
            scale_factor: See :func:`dense_crf`.
        labels: Which labels compete: ``'all'``, or those that are ``'leading'``, see :func:`leading_labels`; the others
            then have probability 0. That is for segmentors of many classes, since the time grows with the labels;
            scores of CAMs have no rows but those of the classes present.

    Raises:
        UserError: When built, if a parameter is out of its range or pydensecrf is not installed; when called, see
            :func:`dense_crf`.
    """

    def __init__(self,
                 unary: str = 'softmax',
                 gt_prob: float = 0.7,
                 iterations: int = 10,
                 gaussian_sxy: float = 3,
                 gaussian_compat: float = 3,
                 bilateral_sxy: float = 80,
                 bilateral_srgb: float = 13,
                 bilateral_compat: float = 10,
                 scale_factor: float = 1,
                 labels: str = 'all') -> None:
        self.parameters = {
            'unary': unary, 'gt_prob': gt_prob, 'iterations': iterations,
            'gaussian_sxy': gaussian_sxy, 'gaussian_compat': gaussian_compat,
            'bilateral_sxy': bilateral_sxy, 'bilateral_srgb': bilateral_srgb,
            'bilateral_compat': bilateral_compat, 'scale_factor': scale_factor,
        }
        _check_parameters(**self.parameters)
        if labels not in ('all', 'leading'):
            raise UserError(f"DenseCRF: labels must be 'all' or 'leading', got {labels!r}")
        self.labels = labels
        import_pydensecrf()

    def __call__(self, score_map: ScoreMap, image: np.ndarray) -> ScoreMap:
        """Runs the CRF on one image, see :func:`dense_crf`."""
        scores = np.asarray(score_map.scores, np.float32)
        if self.labels == 'all':
            return ScoreMap(dense_crf(image, scores, **self.parameters), score_map.classes)
        rows = leading_labels(scores)
        refined = np.zeros_like(scores)
        refined[rows] = dense_crf(image, scores[rows], **self.parameters)
        return ScoreMap(refined, score_map.classes)

    def __repr__(self) -> str:
        options = dict(labels=self.labels, **self.parameters)
        return f'DenseCRF({", ".join(f"{key}={value!r}" for key, value in options.items())})'


def import_pydensecrf() -> ModuleType:
    """Imports ``pydensecrf.densecrf``.

    Raises:
        UserError: If it cannot be imported; it says what to install.
    """
    try:
        return importlib.import_module('pydensecrf.densecrf')
    # ValueError: it was built against a numpy of another binary layout.
    except (ImportError, ValueError) as error:
        raise UserError(f'the dense CRF needs pydensecrf, which cannot be imported ({error}): run '
                        '`pip install pydensecrf2==1.1` (it needs a C++ compiler); everything else works '
                        'without it') from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check_parameters(*, unary: str, gt_prob: float, iterations: int, **others: float) -> None:
    if unary not in ('softmax', 'label'):
        raise UserError(f"DenseCRF: unary must be 'softmax' or 'label', got {unary!r}")
    if not (_is_number(gt_prob) and 0 < gt_prob < 1):
        raise UserError(f'DenseCRF: gt_prob must be between 0 and 1, got {gt_prob!r}')
    if not isinstance(iterations, int) or iterations < 0:
        raise UserError(f'DenseCRF: iterations must be a whole number, at least 0, got {iterations!r}')
    for name, value in others.items():
        may_be_zero = name.endswith('compat')
        if not (_is_number(value) and (value > 0 or (value == 0 and may_be_zero))):
            raise UserError(f'DenseCRF: {name} must be {"at least" if may_be_zero else "above"} 0, '
                            f'got {value!r}')
