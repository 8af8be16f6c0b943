"""Dense CRF: mean-field inference in a fully connected conditional random field.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials",
NIPS 2011. Parameters and conventions are pydensecrf's; what does the message passing is a choice, see
:mod:`mmwsss.postprocessing.crf_backends`.
"""
import math
from collections.abc import Callable

import numpy as np

from mmwsss.postprocessing.base import check_image
from mmwsss.postprocessing.crf_backends import build_kernels, choose_backend
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


class ImageCRF:
    """Dense CRFs on one image: what depends on the image alone, its lattices, is built once for all of them.

    Args:
        image: uint8 [H, W, 3].
        gaussian_sxy, gaussian_compat, bilateral_sxy, bilateral_srgb, bilateral_compat, scale_factor, backend, device:
            See :func:`dense_crf`.

    Raises:
        UserError: See :func:`dense_crf`.
    """

    def __init__(self,
                 image: np.ndarray,
                 *,
                 gaussian_sxy: float = 3,
                 gaussian_compat: float = 3,
                 bilateral_sxy: float = 80,
                 bilateral_srgb: float = 13,
                 bilateral_compat: float = 10,
                 scale_factor: float = 1,
                 backend: str = 'auto',
                 device: str = 'cpu') -> None:
        _check_parameters(gaussian_sxy=gaussian_sxy, gaussian_compat=gaussian_compat, bilateral_sxy=bilateral_sxy,
                          bilateral_srgb=bilateral_srgb, bilateral_compat=bilateral_compat, scale_factor=scale_factor)
        self.image = image
        self._backend = choose_backend(backend, device)
        self._parameters = dict(gaussian_sxy=gaussian_sxy / scale_factor, gaussian_compat=gaussian_compat,
                                bilateral_sxy=bilateral_sxy / scale_factor, bilateral_srgb=bilateral_srgb,
                                bilateral_compat=bilateral_compat, device=device)
        self._kernels = None

    def __call__(self, scores: np.ndarray, *, unary: str = 'softmax', gt_prob: float = 0.7, iterations: int = 10
                 ) -> np.ndarray:
        """Runs a CRF; arguments, result and errors are those of :func:`dense_crf`."""
        _check_inference(unary, gt_prob, iterations)
        scores = np.asarray(scores, np.float32)
        check_image(ScoreMap(scores, np.arange(len(scores) - 1)), self.image)
        if not (np.isfinite(scores).all() and (scores >= 0).all()):
            raise UserError('the scores for the dense CRF must be finite and not negative')
        if len(scores) == 1:
            return np.ones_like(scores)
        if self._kernels is None:
            self._kernels = build_kernels(self._backend, self.image, **self._parameters)
        energy = unary_from_scores(scores) if unary == 'softmax' else unary_from_hard_labels(scores, gt_prob)
        return self._kernels.mean_field(energy, iterations).reshape(scores.shape)


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
              scale_factor: float = 1,
              backend: str = 'auto',
              device: str = 'cpu') -> np.ndarray:
    """Probabilities of the labels after mean-field inference.

    With p_i, c_i the position (pixels) and colour (0-255) of pixel i, both sxy divided by
    ``scale_factor``, and U the unary energies::

        k_g(i, j) = exp(-|p_i - p_j|^2 / (2 sxy_g^2))
        k_b(i, j) = exp(-|p_i - p_j|^2 / (2 sxy_b^2) - |c_i - c_j|^2 / (2 srgb^2))
        K(i, j)   = k(i, j) / sqrt(sum_j' k(i, j')) / sqrt(sum_i' k(i', j))      for each of the two
        Q_i       = softmax(-U_i),  then ``iterations`` times
        Q_i       = softmax(-U_i + sum_j (compat_g K_g(i, j) + compat_b K_b(i, j)) Q_j)

    (eq. 4 and 3 of the paper with the Potts model; all pixels at once, j = i included.) The sums are taken on a
    permutohedral lattice, an approximation: on small images, the probabilities after one iteration are on
    average less than 0.02 off the exact ones, and nowhere 0.12. All backends use pydensecrf's lattice and differ from
    each other by rounding alone. Deterministic.

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
        backend: What does the message passing: 'numba', 'pydensecrf', 'torch', or 'auto', the first of these that is
            installed, which is the fastest; torch always is.
        device: A device of PyTorch; any but 'cpu' is for 'torch' alone, and 'auto' takes that then.

    Returns:
        float32 [L, H, W], sums to 1 over L.

    Raises:
        UserError: If the sizes of image and scores differ, a score is negative or not finite, a
            parameter is out of its range, the backend is not installed, or there is no such device.
    """
    _check_inference(unary, gt_prob, iterations)
    crf = ImageCRF(image, gaussian_sxy=gaussian_sxy, gaussian_compat=gaussian_compat, bilateral_sxy=bilateral_sxy,
                   bilateral_srgb=bilateral_srgb, bilateral_compat=bilateral_compat, scale_factor=scale_factor,
                   backend=backend, device=device)
    return crf(scores, unary=unary, gt_prob=gt_prob, iterations=iterations)


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
            scale_factor, backend, device: See :func:`dense_crf`.
        labels: Which labels compete: ``'all'``, or those that are ``'leading'``, see :func:`leading_labels`; the others
            then have probability 0. That is for segmentors of many classes, since the time grows with the labels;
            scores of CAMs have no rows but those of the classes present.

    Raises:
        UserError: When built, if a parameter is out of its range, or the backend or the device is not there; when
            called, see :func:`dense_crf`.
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
                 labels: str = 'all',
                 backend: str = 'auto',
                 device: str = 'cpu') -> None:
        self.inference = {'unary': unary, 'gt_prob': gt_prob, 'iterations': iterations}
        self.kernels = {
            'gaussian_sxy': gaussian_sxy, 'gaussian_compat': gaussian_compat,
            'bilateral_sxy': bilateral_sxy, 'bilateral_srgb': bilateral_srgb,
            'bilateral_compat': bilateral_compat, 'scale_factor': scale_factor,
        }
        _check_inference(unary, gt_prob, iterations)
        _check_parameters(**self.kernels)
        if labels not in ('all', 'leading'):
            raise UserError(f"DenseCRF: labels must be 'all' or 'leading', got {labels!r}")
        self.labels = labels
        self.backend = choose_backend(backend, device)
        self.device = device

    @property
    def parameters(self) -> dict[str, str | float]:
        """The parameters of the model, as :func:`dense_crf` takes them."""
        return {**self.inference, **self.kernels}

    def __call__(self, score_map: ScoreMap, image: np.ndarray) -> ScoreMap:
        """Runs the CRF on one image, see :func:`dense_crf`."""
        return self.on_image(image)(score_map)

    def on_image(self, image: np.ndarray) -> Callable[[ScoreMap], ScoreMap]:
        """Returns a function that runs the CRF on score maps of one image, and builds its lattices once."""
        crf = ImageCRF(image, **self.kernels, backend=self.backend, device=self.device)

        def run(score_map: ScoreMap) -> ScoreMap:
            scores = np.asarray(score_map.scores, np.float32)
            if self.labels == 'all':
                return ScoreMap(crf(scores, **self.inference), score_map.classes)
            rows = leading_labels(scores)
            refined = np.zeros_like(scores)
            refined[rows] = crf(scores[rows], **self.inference)
            return ScoreMap(refined, score_map.classes)

        return run

    def __repr__(self) -> str:
        options = dict(labels=self.labels, **self.parameters)
        return f'DenseCRF({", ".join(f"{key}={value!r}" for key, value in options.items())})'


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check_inference(unary: str, gt_prob: float, iterations: int) -> None:
    if unary not in ('softmax', 'label'):
        raise UserError(f"DenseCRF: unary must be 'softmax' or 'label', got {unary!r}")
    if not (_is_number(gt_prob) and 0 < gt_prob < 1):
        raise UserError(f'DenseCRF: gt_prob must be between 0 and 1, got {gt_prob!r}')
    if not isinstance(iterations, int) or iterations < 0:
        raise UserError(f'DenseCRF: iterations must be a whole number, at least 0, got {iterations!r}')


def _check_parameters(**parameters: float) -> None:
    for name, value in parameters.items():
        may_be_zero = name.endswith('compat')
        if not (_is_number(value) and (value > 0 or (value == 0 and may_be_zero))):
            raise UserError(f'DenseCRF: {name} must be {"at least" if may_be_zero else "above"} 0, '
                            f'got {value!r}')
