"""Picture of how alike the class-wise prototypes of RCM are."""
import os
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.utils.errors import UserError
from mmwsss.visualization.plot import plot


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
    if len(names) != len(prototypes):
        raise UserError(f'there are {len(prototypes)} prototypes, but {len(names)} names: {", ".join(names)}')
    matrix = cosine_matrix(prototypes)
    size = 2.2 + 0.55 * len(names)
    with plot(path, size + 0.8, size) as figure:
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


def mean_off_diagonal(matrix: Tensor) -> float:
    """Returns the mean of a K x K matrix without its diagonal, K at least 2."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)].mean().item()
