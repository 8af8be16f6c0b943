"""A post-processor: from the scores of an image to better ones, before they become a label map."""
import cv2
import numpy as np

from mmwsss.registry import POSTPROCESSORS
from mmwsss.structures import ScoreMap


def box_mean(scores: np.ndarray, radius: int) -> np.ndarray:
    """Averages every map over a square of 2 ``radius`` + 1 pixels; outside of the image is its mirror image.

    Args:
        scores: float32 K x H x W.
        radius: Pixels.

    Returns:
        float32 K x H x W.
    """
    size = 2 * radius + 1
    return np.stack([cv2.blur(row, (size, size), borderType=cv2.BORDER_REFLECT) for row in scores])


@POSTPROCESSORS.register_module()
class SmoothScores:
    """Smooths the scores of background and classes, whatever the image shows.

    Args:
        radius: See :func:`box_mean`.
    """

    def __init__(self, radius: int = 2) -> None:
        self.radius = radius

    def __call__(self, score_map: ScoreMap, image: np.ndarray) -> ScoreMap:
        """Returns smoothed scores; it is called in worker processes and changes neither argument."""
        return ScoreMap(box_mean(score_map.scores, self.radius), score_map.classes)
