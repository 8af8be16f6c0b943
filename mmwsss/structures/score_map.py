"""What the post-processors pass on: scores of the background and the classes present."""
from dataclasses import dataclass

import numpy as np


@dataclass
class ScoreMap:
    """Scores per pixel of one image.

    Attributes:
        scores: float32 [K + 1, H, W], non-negative; row 0 is the background, row i + 1 the class
            ``classes[i]``. A pixel's label is its largest score.
        classes: int64 [K], foreground class ids present in the image, 0-based.
    """
    scores: np.ndarray
    classes: np.ndarray

    def to_label(self) -> np.ndarray:
        """Returns the label map, uint8 [H, W]: 0 background, k + 1 for class k."""
        names = np.concatenate([[0], self.classes + 1]).astype(np.uint8)
        return names[self.scores.argmax(axis=0)]
