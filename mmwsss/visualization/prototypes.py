"""Picture of how alike the class-wise prototypes of RCM are."""
import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import atomic_path
from mmwsss.visualization.curve import FORMATS


def cosine_matrix(prototypes: Tensor) -> Tensor:
    """Computes the cosine of every pair of prototypes.

    Args:
        prototypes: K x D, none of them zero.

    Returns:
        K x K in [-1, 1], in double precision, with ones on the diagonal.
    """
    unit = F.normalize(prototypes.double(), dim=1)
    return unit @ unit.T


def plot_cosine_matrix(prototypes: Tensor, names: Sequence[str], path: str | os.PathLike,
                       title: str | None = None) -> None:
    """Plots :func:`cosine_matrix` with its values.

    Args:
        prototypes: K x D.
        names: K names.
        path: The picture: ``.png``, ``.pdf`` or ``.svg``. Missing folders are created.
        title: Title of the picture.

    Raises:
        UserError: If there are not as many names as prototypes, or the file has another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f'{path}: a picture can be written as {", ".join(FORMATS)}; change the suffix')
    if len(names) != len(prototypes):
        raise UserError(f'there are {len(prototypes)} prototypes, but {len(names)} names: {", ".join(names)}')
    matrix = cosine_matrix(prototypes)
    size = 2.2 + 0.55 * len(names)
    # Not pyplot, which keeps every figure and asks the environment for a display.
    figure = Figure(figsize=(size + 0.8, size), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(matrix.numpy(), vmin=-1, vmax=1, cmap='coolwarm')
    axes.set_xticks(range(len(names)), names, rotation=45, ha='right')
    axes.set_yticks(range(len(names)), names)
    for i, row in enumerate(matrix.tolist()):
        for j, value in enumerate(row):
            axes.text(j, i, f'{value:.2f}', ha='center', va='center', fontsize=8,
                      color='white' if abs(value) > 0.7 else 'black')
    figure.colorbar(image, label='cosine')
    if title:
        axes.set_title(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def mean_off_diagonal(matrix: Tensor) -> float:
    """Returns the mean of a K x K matrix without its diagonal, K at least 2."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)].mean().item()
