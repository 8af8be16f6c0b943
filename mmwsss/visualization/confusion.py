"""Plots of confusion matrices."""
import os
from collections.abc import Sequence

import numpy as np

from mmwsss.visualization.plot import plot

NUMBERS_UP_TO = 25  # classes: in a larger picture numbers could not be read


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Divides the counts of each class by its pixels.

    Args:
        confusion: Integers [C + 1, D], rows are the ground truth.

    Returns:
        float64 [C + 1, D] in [0, 1], each row adding up to 1; NaN for a class without pixels.
    """
    totals = confusion.sum(axis=1, keepdims=True)
    return np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)


def plot_confusion(confusion: np.ndarray, names: Sequence[str], path: str | os.PathLike,
                   title: str | None = None) -> None:
    """Plots :func:`row_shares` in percent.

    Args:
        confusion: Integers [C + 1, C + 2] of :func:`mmwsss.evaluation.label_metrics.confusion_matrix`; the last column,
            pixels without prediction, is drawn where it is not empty.
        names: C + 1 names.
        path: The picture: ``.png``, ``.pdf`` or ``.svg``. Missing folders are created.
        title: Title of the picture.

    Raises:
        UserError: If the file has another suffix.
    """
    columns = [*names, 'no prediction'] if confusion[:, -1].any() else list(names)
    shares = 100 * row_shares(confusion)[:, :len(columns)]
    size = 2.2 + 0.5 * min(len(names), 2 * NUMBERS_UP_TO)
    with plot(path, size + 0.8, size) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares, vmin=0, vmax=100, cmap='Blues')
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha='right')
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel('prediction')
        axes.set_ylabel('ground truth')
        if len(names) <= NUMBERS_UP_TO:
            for (i, j), value in np.ndenumerate(shares):
                if np.isfinite(value) and value >= .5:
                    axes.text(j, i, f'{value:.0f}', ha='center', va='center', fontsize=8,
                              color='white' if value > 60 else 'black')
        figure.colorbar(image, label='% of the pixels of a class')
        if title:
            axes.set_title(title)
