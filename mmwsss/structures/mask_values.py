"""Masks whose numbers or colours are not the labels that are meant."""
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from mmwsss.utils.errors import UserError

BACKGROUND, IGNORE = 0, 255
BLACK = (0, 0, 0)
Colour = tuple[int, int, int]
FORM = ('mask_values must be a dict of values in the mask, or of colours in it, to labels (0 background, k + 1 for '
        'class k, 255 ignore), such as {255: 1} or {(128, 0, 0): 1, (0, 128, 0): 2}')


def parse_mask_values(mask_values: Mapping[Any, int]) -> dict[int, int] | dict[Colour, int]:
    """Checks what a user says about the values in masks.

    Args:
        mask_values: Value in the mask -> label (0 background, k + 1 for class k, 255 ignore). The values are all
            numbers 0 to 255, as they are stored, or all colours ``(r, g, b)``. As text, ``'255'``, ``'128,0,0'`` and
            ``'#800000'`` are understood.

    Returns:
        The same with numbers, or tuples of three, as keys. Where it is not said otherwise, 0 or black is background,
        and 255 among numbers is ignored.

    Raises:
        UserError: If it has another form.
    """
    if not isinstance(mask_values, Mapping) or not mask_values:
        raise UserError(f'{FORM}, not {mask_values!r}')
    values = {_key(key): label for key, label in mask_values.items()}
    numbers = [isinstance(key, int) for key in values]
    if (None in values or any(numbers) != all(numbers) or len(values) != len(mask_values)
            or not all(isinstance(label, int) and 0 <= label <= IGNORE for label in values.values())):
        raise UserError(f'{FORM}, not {dict(mask_values)!r}')
    return {**({BACKGROUND: BACKGROUND, IGNORE: IGNORE} if numbers[0] else {BLACK: BACKGROUND}), **values}


def _key(key: Any) -> int | Colour | None:
    if isinstance(key, str):
        if re.fullmatch(r'#[0-9a-fA-F]{6}', key):
            return tuple(bytes.fromhex(key[1:]))
        numbers = re.fullmatch(r'\(?\s*(\d+)(?:\s*,\s*(\d+)\s*,\s*(\d+))?\s*\)?', key.strip())
        key = tuple(int(number) for number in numbers.groups() if number is not None) if numbers else ()
        key = key[0] if len(key) == 1 else key
    parts = (key,) if isinstance(key, int) else tuple(key) if isinstance(key, (tuple, list)) else ()
    if len(parts) not in (1, 3) or not all(isinstance(part, int) and 0 <= part <= 255 for part in parts):
        return None
    return parts[0] if len(parts) == 1 else parts


def stored_values(image: Image.Image, is_plain: bool, values: Mapping[Any, int]) -> Image.Image | None:
    """Returns the picture of a mask as numbers or as colours, whichever ``values`` names.

    Args:
        image: The mask.
        is_plain: Whether it has one number of 8 bits for each pixel.
        values: From :func:`parse_mask_values`.

    Returns:
        A grey, palette or RGB picture, or ``None`` for colours where numbers were named.
    """
    if isinstance(next(iter(values)), tuple):
        return image.convert('RGB')  # of a palette, whose ids may differ from image to image
    if is_plain:
        return image
    return image.convert('L') if image.mode == '1' else None


def map_values(stored: np.ndarray, values: Mapping[Any, int], path: str | os.PathLike) -> np.ndarray:
    """Replaces the values of a mask by labels.

    Args:
        stored: uint8 [H, W], or [H, W, 3] for colours.
        values: From :func:`parse_mask_values`.
        path: The mask, for the message.

    Returns:
        uint8 [H, W].

    Raises:
        UserError: If a value is not in ``values``.
    """
    is_colour = stored.ndim == 3
    if is_colour:
        stored = (stored.astype(np.int32) << (16, 8, 0)).sum(axis=2)
        values = {(red << 16) + (green << 8) + blue: label for (red, green, blue), label in values.items()}
    found, places = np.unique(stored, return_inverse=True)
    unknown = [int(value) for value in found if value not in values]
    if unknown:
        named = f'colour {tuple(unknown[0] >> n & 255 for n in (16, 8, 0))}' if is_colour else f'value {unknown[0]}'
        raise UserError(f'{path}: has the {named}, which mask_values does not name; add it there (255 to ignore it)')
    labels = np.array([values[value] for value in found.tolist()], np.uint8)
    return labels[places].reshape(stored.shape)
