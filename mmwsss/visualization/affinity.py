"""Pictures of what is similar to a point: as PCM sees it (SEAM, Fig. 5), or in a backbone's stages (SSA, Fig. 1)."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.inference.self_affinity import cosine_normalize
from mmwsss.structures.maps import max_normalize, resize_cam
from mmwsss.utils.autocast import no_autocast
from mmwsss.utils.errors import UserError
from mmwsss.visualization.draw import draw_cam, fit_image, side_by_side

# Of the crosses, in turn: the paper's red and green, then others.
COLOURS = ((255, 0, 0), (0, 255, 0), (255, 255, 0), (255, 0, 255), (0, 255, 255), (255, 140, 0))
OUTLINE = (0, 0, 0)
# Least divisor of an affinity map, whose largest value may be as small as 1 / hw.
TINY = torch.finfo(torch.float32).tiny


@dataclass
class AffinityMaps:
    """What a model with PCM computes from one image.

    Attributes:
        affinity: P x h x w in [0, 1], one map per point: the rectified cosine between the features of each position
            and of the point (eq. 6). It is PCM's normalised affinity divided by its largest value, which is the
            point's own. All zero where the point has no features.
        cam: C x h x w in [0, 1], the rectified class maps before PCM divided by their maxima.
        revised: C x h x w in [0, 1], the foreground of PCM's result divided by its maxima.
        scores: [C] sigmoid scores.
    """
    affinity: Tensor
    cam: Tensor
    revised: Tensor
    scores: Tensor


@dataclass
class StageMaps:
    """What the stages of a model see as similar in one image.

    Attributes:
        similarity: Name of a stage -> P x h x w in [-1, 1], one map per point, see :func:`point_similarity`; each stage
            has its own grid.
        cam: C x h x w in [0, 1], the model's class activation maps divided by their maxima.
        scores: [C] in [0, 1].
    """
    similarity: dict[str, Tensor]
    cam: Tensor
    scores: Tensor


def point_similarity(feats: Tensor, points: Sequence[tuple[float, float]]) -> Tensor:
    """Computes the cosine between the features at some points and at all positions (SSA eq. 2 and 3).

    It is the columns of ``f^T f`` that belong to the points, with ``f`` the features by
    :func:`mmwsss.inference.self_affinity.cosine_normalize`. The identity, which eq. 3 takes away so that a position
    says nothing of itself, is left in: the point is most similar to itself.

    Args:
        feats: 1 x K x h x w features of one stage.
        points: (x, y) of P points, as fractions of width and height in [0, 1).

    Returns:
        P x h x w in [-1, 1]; above 0 only where features are rectified. All zero where the point has no features.
    """
    height, width = feats.shape[-2:]
    index = [math.floor(y * height) * width + math.floor(x * width) for x, y in points]
    with no_autocast(feats.device):
        f = cosine_normalize(feats.float().flatten(2))[0]
        return (f[:, index].T @ f).unflatten(1, (height, width))


@torch.no_grad()
def stage_maps(model: nn.Module, inputs: Tensor, points: Sequence[tuple[float, float]],
               stages: Sequence[str]) -> StageMaps:
    """Computes what is similar to some points in the features of some stages, and the CAM (SSA, Fig. 1).

    It is one plain forward at the scale of ``inputs``: no inference hook takes part.

    Args:
        model: A :class:`~mmwsss.models.BaseCAMModel` in eval mode.
        inputs: 1 x 3 x H x W, one normalised image.
        points: (x, y) of each point, as fractions of width and height in [0, 1).
        stages: Names of the model's feature maps: ``'0'``, ``'1'``, ... in the order in which it returns them.

    Returns:
        The maps.

    Raises:
        UserError: If the model has no such stage.
        ValueError: If there is not one image, or a point is outside of it.
    """
    _check('stage_maps', inputs, points)
    output = model.compute_cam(inputs)
    for stage in stages:
        if stage not in output.feats:
            raise UserError(f'{stage}: is no stage of the model, which has {", ".join(output.feats)} '
                            '(configs/ssa/README.md)')
    return StageMaps(
        similarity={stage: point_similarity(output.feats[stage], points) for stage in stages},
        cam=max_normalize(output.cam[0].float()), scores=model.scores_of(output.logits)[0])


@torch.no_grad()
def affinity_maps(model: nn.Module, inputs: Tensor, points: Sequence[tuple[float, float]]) -> AffinityMaps:
    """Computes the affinity maps of some points, and the class maps before and after PCM.

    It is one plain forward at the scale of ``inputs``: no inference hook takes part.

    Args:
        model: A :class:`~mmwsss.models.BaseCAMModel` in eval mode whose attribute ``pcm`` is a
            :class:`~mmwsss.models.PCM`.
        inputs: 1 x 3 x H x W, one normalised image.
        points: (x, y) of each point, as fractions of width and height in [0, 1).

    Returns:
        The maps, on the grid of the model's class maps.

    Raises:
        UserError: If the model has no PCM.
        ValueError: If there is not one image, or a point is outside of it.
    """
    pcm = getattr(model, 'pcm', None)
    if not hasattr(pcm, 'affinity'):
        raise UserError(f'{type(model).__name__}: has no pixel correlation module, so there is no affinity to draw; '
                        'name a config with model.pcm, such as those in configs/seam/, or stages whose features are '
                        'compared (--stages)')
    _check('affinity_maps', inputs, points)
    maps, feats = model.forward_maps(inputs)
    return AffinityMaps(
        affinity=max_normalize(pcm.affinity(feats, inputs, tuple(maps.shape[-2:]), points), TINY),
        cam=max_normalize(F.relu(maps[0]).float()),
        revised=max_normalize(F.relu(pcm(maps, feats, inputs)[0, 1:])),
        scores=model.pool(maps)[0].float().sigmoid())


def _check(name: str, inputs: Tensor, points: Sequence[tuple[float, float]]) -> None:
    if len(inputs) != 1 or not points or not all(0 <= x < 1 and 0 <= y < 1 for x, y in points):
        raise ValueError(f'{name}: needs one image, and points in [0, 1) x [0, 1); got {len(inputs)} images, {points}')


def draw_affinity(image: np.ndarray, points: Sequence[tuple[float, float]], affinity: np.ndarray,
                  cams: Mapping[str, np.ndarray] | None = None, caption: str | None = None,
                  height: int = 240) -> np.ndarray:
    """Draws a row: the image with a cross at each point, the affinity map of each point, and CAMs.

    Maps lie over the image as heat, see :func:`~mmwsss.visualization.draw_cam`: blue is 0, red is 1.

    Args:
        image: uint8 [H, W, 3] RGB.
        points: (x, y) of P points, as fractions of width and height in [0, 1).
        affinity: float [P, h, w] in [0, 1].
        cams: Title -> float [h, w] in [0, 1].
        caption: A line of text above the row.
        height: Height of the row in pixels.

    Returns:
        uint8 [h', w', 3], RGB. The cross of a point has one colour on the image and on its map.

    Raises:
        ValueError: If there is not one map per point.
    """
    if len(affinity) != len(points):
        raise ValueError(f'{len(affinity)} affinity maps for {len(points)} points')
    fitted = fit_image(image, height)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(points))]
    marked = fitted.copy()
    for point, colour in zip(points, colours):
        draw_cross(marked, point, colour)
    cells, titles = [marked], ['image']
    for point, colour, heat in zip(points, colours, resize_cam(affinity, fitted.shape[:2])):
        cells.append(draw_cam(fitted, heat))
        draw_cross(cells[-1], point, colour)
        titles.append('affinity to ({}, {})'.format(*_pixel(point, image)))
    for title, cam in (cams or {}).items():
        cells.append(draw_cam(fitted, resize_cam(cam[None], fitted.shape[:2])[0]))
        titles.append(title)
    return side_by_side([cells], titles, None if caption is None else [caption], height)


def draw_stages(image: np.ndarray, points: Sequence[tuple[float, float]], similarity: Mapping[str, np.ndarray],
                cams: Mapping[str, np.ndarray] | None = None, caption: str | None = None,
                height: int = 240) -> np.ndarray:
    """Draws a row for each point: the image with a cross at it, its map in each stage, and CAMs.

    Maps lie over the image as heat, see :func:`~mmwsss.visualization.draw_cam`: blue is 0 or less, red is 1.

    Args:
        image: uint8 [H, W, 3] RGB.
        points: (x, y) of P points, as fractions of width and height in [0, 1).
        similarity: Title of a column -> float [P, h, w] in [-1, 1].
        cams: Title -> float [h, w] in [0, 1], the same in every row.
        caption: A line of text, with the point, above every row.
        height: Height of a row in pixels.

    Returns:
        uint8 [h', w', 3], RGB.

    Raises:
        ValueError: If a column has not one map per point.
    """
    for title, maps in similarity.items():
        if len(maps) != len(points):
            raise ValueError(f'{title}: {len(maps)} maps for {len(points)} points')
    fitted = fit_image(image, height)
    size = fitted.shape[:2]
    rows, captions = [], []
    for i, point in enumerate(points):
        row = [fitted.copy()] + [draw_cam(fitted, resize_cam(maps[i:i + 1], size)[0]) for maps in similarity.values()]
        for cell in row:
            draw_cross(cell, point, COLOURS[i % len(COLOURS)])
        row += [draw_cam(fitted, resize_cam(cam[None], size)[0]) for cam in (cams or {}).values()]
        rows.append(row)
        place = 'similarity to ({}, {})'.format(*_pixel(point, image))
        captions.append(place if caption is None else f'{caption}: {place}')
    return side_by_side(rows, ['image', *similarity, *(cams or {})], captions, height)


def draw_cross(image: np.ndarray, point: tuple[float, float], colour: tuple[int, int, int]) -> None:
    """Draws an upright cross with a black outline, in place.

    Args:
        image: uint8 [H, W, 3] RGB.
        point: (x, y) as fractions of width and height in [0, 1).
        colour: RGB.
    """
    size = max(9, image.shape[0] // 14)
    for drawn, width in ((OUTLINE, 5), (colour, 2)):
        # The outline is also longer than the cross.
        cv2.drawMarker(image, _pixel(point, image), drawn, cv2.MARKER_CROSS, size + width, width)


def _pixel(point: tuple[float, float], image: np.ndarray) -> tuple[int, int]:
    return int(point[0] * image.shape[1]), int(point[1] * image.shape[0])
