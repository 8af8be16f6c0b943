"""Pictures of CAMs and label maps: plain functions on RGB arrays."""
import colorsys
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmwsss.utils.fileio import write_bytes

IGNORE = 255
WHITE = 255
GAP = 6
FONT = cv2.FONT_HERSHEY_SIMPLEX
LARGEST_TEXT, SMALLEST_TEXT = .5, .34
TEXT_LINE = 18  # pixels a line of text takes
INK = (40, 40, 40)
# Of classes on photographs: bright, and told apart side by side. Files have the colours of VOC.
COLOURS = ('#ff3b30', '#34c759', '#3d8bff', '#ffd60a', '#c86bff', '#ff9500', '#2de2e6', '#ff5fa8', '#a6e22e', '#8f7bff',
           '#ffb199', '#00c9a7', '#ffe9a8', '#5ac8fa', '#ff00c8', '#b5651d', '#7fffd4', '#ffffff', '#6f8f00', '#0059ff')


def display_palette(n: int) -> list[list[int]]:
    """Returns ``n`` RGB colours in 0..255 to lay over photographs: black for the background, then bright ones."""
    colours = [[0, 0, 0], *([int(name[i:i + 2], 16) for i in (1, 3, 5)] for name in COLOURS)]
    while len(colours) < n:  # by the golden ratio, hues stay apart
        hue = len(colours) * 0.618034 % 1
        light = (1., .75, .55)[len(colours) % 3]
        colours.append([round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, light)])
    return colours[:n]


def draw_cam(image: np.ndarray, cam: np.ndarray, alpha: float = .5) -> np.ndarray:
    """Lays a CAM over its image as heat: blue is 0, red is 1.

    Args:
        image: uint8 [H, W, 3] RGB, or [H, W] grey.
        cam: Float [H, W] in [0, 1]; values outside are clipped.
        alpha: Weight of the heat.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        ValueError: If the sizes differ or the CAM is not finite.
    """
    image = _as_rgb(image)
    cam = np.asarray(cam, np.float32)
    if cam.shape != image.shape[:2]:
        raise ValueError(f'a CAM of size {cam.shape} does not fit an image of size {image.shape[:2]}')
    if not np.isfinite(cam).all():
        raise ValueError('the CAM has values that are not finite')
    heat = cv2.applyColorMap(np.round(255 * cam.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    return _blend(image, heat, alpha)


def draw_label(image: np.ndarray, label: np.ndarray, palette: Sequence[Sequence[int]], alpha: float = .6) -> np.ndarray:
    """Lays a label map over its image in the classes' colours; 0, the background, is the image, 255 hatched in white.

    Args:
        image: uint8 [H, W, 3] RGB, or [H, W] grey.
        label: uint8 [H, W], indices into ``palette`` or 255.
        palette: RGB colours in 0..255.
        alpha: Weight of the colours.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        ValueError: If the sizes differ or a label has no colour.
    """
    image = _as_rgb(image)
    if label.shape != image.shape[:2]:
        raise ValueError(f'a label map of size {label.shape} does not fit an image of size {image.shape[:2]}')
    ignored = label == IGNORE
    if (highest := label[~ignored].max(initial=0)) >= len(palette):
        raise ValueError(f'label {highest} has no colour: the palette has {len(palette)}')
    colours = np.array(palette, np.uint8)[np.where(ignored, 0, label)]
    drawn = _blend(image, colours, alpha)
    drawn[label == 0] = image[label == 0]
    rows, columns = np.indices(label.shape, sparse=True)
    stripe = (rows + columns) % 6 < 3
    drawn[ignored & stripe] = WHITE
    drawn[ignored & ~stripe] = _blend(image, np.full_like(image, WHITE), .5)[ignored & ~stripe]
    return drawn


def fit_image(image: np.ndarray, height: int) -> np.ndarray:
    """Resizes an image to a height; one wider than twice its height becomes ``2 * height`` wide instead.

    Args:
        image: uint8 [H, W, 3] or [H, W] grey.
        height: In pixels.

    Returns:
        uint8 [h, w, 3] with h <= height, w <= 2 * height.
    """
    image = _as_rgb(image)
    scale = min(height / image.shape[0], 2 * height / image.shape[1])
    size = [max(1, round(scale * side)) for side in image.shape[:2]]
    if tuple(size) == image.shape[:2]:
        return image
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def write_on(image: np.ndarray, text: str) -> np.ndarray:
    """Returns a copy of an RGB image with a line of text on a dark bar at its lower edge."""
    image = _as_rgb(image).copy()
    bar = image[-TEXT_LINE:]
    bar[:] = _blend(bar, np.zeros_like(bar), .65)
    _put_text(image, text, 3, image.shape[0] - 5, image.shape[1] - 6, (255, 255, 255))
    return image


def side_by_side(rows: Sequence[Sequence[np.ndarray | None]], titles: Sequence[str] | None = None,
                 captions: Sequence[str] | None = None, height: int = 160) -> np.ndarray:
    """Puts images of any size into a table on white.

    Args:
        rows: For each row its images, uint8 [H, W, 3] RGB or [H, W] grey; None leaves a cell empty. Rows may
            be shorter than others.
        titles: A title for each column.
        captions: A line of text above each row.
        height: Height of the rows in pixels, see :func:`fit_image`.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        ValueError: If there are more titles than columns in a table with rows, or not one caption a row.
    """
    if captions is not None and len(captions) != len(rows):
        raise ValueError(f'{len(captions)} captions for {len(rows)} rows')
    cells = [[None if image is None else fit_image(image, height) for image in row] for row in rows]
    columns = max([len(row) for row in cells] + [0 if cells else len(titles or ())])
    if len(titles or ()) > columns:
        raise ValueError(f'{len(titles)} titles for {columns} columns')
    widths = [max([row[i].shape[1] for row in cells if i < len(row) and row[i] is not None] + [height // 2])
              for i in range(columns)]
    lefts = [GAP + sum(widths[:i]) + i * GAP for i in range(columns)]
    top = GAP + (TEXT_LINE if titles else 0)
    step = height + GAP + (TEXT_LINE if captions else 0)
    sheet = np.full((top + len(cells) * step + (0 if cells else GAP), sum(widths) + (columns + 1) * GAP, 3), WHITE,
                    np.uint8)
    for title, left, width in zip(titles or (), lefts, widths):
        _put_text(sheet, title, left, GAP + TEXT_LINE - 6, width, INK)
    for number, row in enumerate(cells):
        y = top + number * step
        if captions:
            _put_text(sheet, captions[number], GAP, y + TEXT_LINE - 6, sheet.shape[1] - 2 * GAP, INK)
            y += TEXT_LINE
        for cell, x, width in zip(row, lefts, widths):
            if cell is not None:
                y0, x0 = y + (height - cell.shape[0]) // 2, x + (width - cell.shape[1]) // 2
                sheet[y0:y0 + cell.shape[0], x0:x0 + cell.shape[1]] = cell
    return sheet


def draw_legend(names: Sequence[str], colours: Sequence[Sequence[int] | None], width: int) -> np.ndarray:
    """Draws the colours of classes with their names, in as many lines as needed.

    Args:
        names: Class names.
        colours: Their RGB colours; None stands for the hatching of 255.
        width: Width of the picture in pixels.

    Returns:
        uint8 [h, width, 3], RGB.
    """
    box = TEXT_LINE - 4
    places, x, line = [], GAP, 0
    for name in names:
        needed = min(box + 4 + _text_width(_ascii(name), LARGEST_TEXT) + 2 * GAP, max(width - GAP, box))
        if x > GAP and x + needed > width:
            x, line = GAP, line + 1
        places.append((x, line, needed))
        x += needed
    legend = np.full(((line + 1) * (TEXT_LINE + 4) + GAP, width, 3), WHITE, np.uint8)
    for name, colour, (x, line, needed) in zip(names, colours, places):
        y = line * (TEXT_LINE + 4) + 2
        patch = legend[y:y + box, x:x + box]
        grey = np.full_like(patch, 128)
        ignored = np.full(patch.shape[:2], IGNORE, np.uint8)
        patch[:] = draw_label(grey, ignored, [[0, 0, 0]]) if colour is None else colour
        cv2.rectangle(legend, (x, y), (x + box - 1, y + box - 1), INK)
        _put_text(legend, name, x + box + 4, y + box - 3, needed - box - 4, INK)
    return legend


def save_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes an RGB or grey uint8 image as PNG, atomically; missing folders are created."""
    done, data = cv2.imencode('.png', _as_rgb(image)[..., ::-1])
    if not done:
        raise ValueError(f'{path}: an image of shape {image.shape} cannot be written as PNG')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data.tobytes())


def _as_rgb(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)) \
            or image.size == 0:
        raise ValueError(f'an image is uint8 [H, W, 3] or [H, W], got {image.dtype} {list(image.shape)}')
    image = image.reshape(*image.shape[:2], -1)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def _blend(image: np.ndarray, over: np.ndarray, alpha: float) -> np.ndarray:
    mixed = (1 - alpha) * image.astype(np.float32) + alpha * over.astype(np.float32)
    return np.round(mixed).astype(np.uint8)


def _ascii(text: str) -> str:
    # OpenCV's built-in fonts have no other characters.
    return text.encode('ascii', 'replace').decode()


def _text_width(text: str, scale: float) -> int:
    return cv2.getTextSize(text, FONT, scale, 1)[0][0]


def _put_text(image: np.ndarray, text: str, x: int, y: int, width: int, colour: tuple[int, int, int]) -> None:
    """Writes a line that ends before ``x + width``: smaller if it must be, then cut."""
    text = _ascii(text)
    scale = LARGEST_TEXT
    if (needed := _text_width(text, scale)) > width:
        scale = max(SMALLEST_TEXT, scale * width / needed)
    if _text_width(text, scale) > width:
        while text and _text_width(f'{text}..', scale) > width:
            text = text[:-1]
        text = f'{text}..' if text else ''
    cv2.putText(image, text, (x, y), FONT, scale, colour, 1, cv2.LINE_AA)
