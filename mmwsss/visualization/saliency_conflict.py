"""Pictures of where pseudo labels and saliency maps conflict: Fig. 7 of InferCam, and how often they do."""
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from mmwsss.models.losses.conflict_temperature import IGNORE, SALIENT, background_conflict
from mmwsss.utils.fileio import atomic_path
from mmwsss.visualization.draw import display_palette, draw_label, draw_legend, fit_image, side_by_side

# Kinds of pixels, in the order of conflict_map's numbers.
AGREE, SALIENT_BACKGROUND, HIDDEN_OBJECT = range(3)
CONFLICTS = {'salient, but labelled background': (255, 60, 0), 'labelled object, but not salient': (0, 120, 255)}
NUM_BINS = 20


@dataclass
class LabelledImage:
    """An image with its two maps.

    Attributes:
        name: What to call it.
        image: uint8 [H, W, 3] RGB.
        label: uint8 [H, W], 0 for the background, 255 for pixels to ignore.
        saliency: uint8 [H, W], 255 = salient.
    """
    name: str
    image: np.ndarray
    label: np.ndarray
    saliency: np.ndarray


def conflict_temperature(label: np.ndarray, saliency: np.ndarray) -> float:
    """Computes tau of one image, see :func:`~mmwsss.models.losses.background_conflict`.

    Args:
        label: uint8 [H, W], 0 for the background, 255 for pixels to ignore.
        saliency: uint8 [H, W], 255 = salient.

    Returns:
        tau in [0, 1]; 1 is full agreement.
    """
    return background_conflict(torch.from_numpy(label)[None], torch.from_numpy(saliency)[None].float() / 255).item()


def conflict_map(label: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """Sorts the pixels by how label and saliency differ.

    Args:
        label: uint8 [H, W], 0 for the background, 255 for pixels to ignore.
        saliency: uint8 [H, W], 255 = salient.

    Returns:
        uint8 [H, W]: 0 where both say the same, 1 where a background pixel is salient, 2 where a pixel of an object
        is not, 255 for pixels to ignore.
    """
    salient = saliency >= SALIENT * 255
    kinds = np.full(label.shape, AGREE, np.uint8)
    kinds[(label == 0) & salient] = SALIENT_BACKGROUND
    kinds[(label != 0) & ~salient] = HIDDEN_OBJECT
    kinds[label == IGNORE] = IGNORE
    return kinds


def draw_saliency_conflict(images: Sequence[LabelledImage], classes: Sequence[str], height: int = 160) -> np.ndarray:
    """Draws a row for each image: image, label, saliency, and where these two conflict; tau stands above it.

    Args:
        images: The images.
        classes: Foreground class names.
        height: Height of a row in pixels.

    Returns:
        uint8 [h, w, 3], RGB, with the colours of classes and conflicts below.

    Raises:
        ValueError: If the sizes of an image and its maps differ, or a label has no class.
    """
    palette = display_palette(len(classes) + 1)
    rows, captions, shown = [], [], set()
    for item in images:
        kinds = conflict_map(item.label, item.saliency)
        # A grey image in the back, so that the two colours are the only ones.
        grey = np.repeat(item.image.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
        conflict = draw_label(grey, kinds, [(0, 0, 0), *CONFLICTS.values()], alpha=.75)
        conflict[kinds == AGREE] = grey[kinds == AGREE]
        rows.append([fit_image(cell, height) for cell in (
            item.image, draw_label(item.image, item.label, palette), item.saliency, conflict)])
        captions.append(f'{item.name}: tau {conflict_temperature(item.label, item.saliency):.2f}; '
                        f'{np.mean(kinds == SALIENT_BACKGROUND):.0%} salient background, '
                        f'{np.mean(kinds == HIDDEN_OBJECT):.0%} object not salient')
        shown.update(np.unique(item.label).tolist())
    sheet = side_by_side(rows, ['image', 'label', 'saliency', 'conflict'], captions, height)
    colours = dict(CONFLICTS)
    colours.update({classes[i - 1]: palette[i] for i in sorted(shown - {0, IGNORE})})
    if IGNORE in shown:
        colours['ignored (255)'] = None
    return np.concatenate([sheet, draw_legend(list(colours), list(colours.values()), sheet.shape[1])])


def histogram(temperatures: Sequence[float]) -> dict[str, list | float | int]:
    """Counts conflict temperatures in bins of equal width.

    Args:
        temperatures: tau of each image, in [0, 1].

    Returns:
        ``bin_edges`` (0 to 1, in steps of 0.05), ``counts`` (each bin has its lower edge, the last one 1 too), ``mean``
        and ``num_images``.

    Raises:
        ValueError: If there is none.
    """
    if not len(temperatures):
        raise ValueError('histogram: needs at least one temperature')
    # Not linspace, whose edges differ from the decimal numbers in their last bit.
    edges = [i / NUM_BINS for i in range(NUM_BINS + 1)]
    counts, _ = np.histogram(np.asarray(temperatures, np.float64), edges)
    return dict(bin_edges=edges, counts=counts.tolist(), mean=float(np.mean(temperatures)),
                num_images=len(temperatures))


def plot_histogram(report: dict[str, list | float | int], path: str | os.PathLike, title: str | None = None) -> None:
    """Plots a histogram of conflict temperatures, with its mean.

    Args:
        report: From :func:`histogram`.
        path: The picture (``.png``). Missing folders are created.
        title: Title of the picture.
    """
    path = Path(path)
    figure = Figure(figsize=(6, 3.6), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    edges = np.array(report['bin_edges'])
    axes.bar(edges[:-1], report['counts'], width=np.diff(edges), align='edge', color='tab:blue', edgecolor='white')
    axes.axvline(report['mean'], color='tab:orange', label=f'mean {report["mean"]:.3f}')
    axes.set_xlim(0, 1)
    axes.set_xticks(np.arange(11) / 10)
    axes.xaxis.set_minor_locator(MultipleLocator(1 / NUM_BINS))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))  # images are whole
    axes.set_xlabel(r'conflict temperature $\tau$ (1: label and saliency agree)')
    axes.set_ylabel('images')
    axes.legend(frameon=False)
    if title:
        axes.set_title(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
