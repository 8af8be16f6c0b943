"""Label files: 8-bit palette PNGs of class labels."""
import io
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmwsss.structures.cam_file import stem_path
from mmwsss.structures.mask_values import map_values, parse_mask_values, stored_values
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes

IGNORE = 255
# Sample layouts of a PNG that PIL unpacks to the stored numbers. Grey of less than 8 bits is missing on
# purpose: PIL scales it to 0..255.
RAW_MODES = ('L', 'P', 'P;1', 'P;2', 'P;4')


def voc_palette(n: int) -> list[list[int]]:
    """Returns the first ``n`` colours of the PASCAL VOC colour map.

    Bits 0, 1, 2 of the label are the highest bits of red, green and blue, bits 3, 4, 5 the next ones,
    and so on, so that neighbouring labels get colours far apart; 0 is black.

    Args:
        n: Number of colours, at most 256.

    Returns:
        n lists [r, g, b] in 0..255.

    Raises:
        ValueError: If n is not in 0..256.
    """
    if not 0 <= n <= 256:
        raise ValueError(f'the VOC colour map has 256 colours, not {n}')
    return [[sum((label >> (3 * i + channel) & 1) << (7 - i) for i in range(3)) for channel in range(3)]
            for label in range(n)]


def label_path(label_dir: str | os.PathLike, stem: str) -> Path:
    """Returns the path of an image's label file, see :func:`mmwsss.structures.cam_file.stem_path`."""
    return stem_path(label_dir, stem, '.png')


def write_label(path: str | os.PathLike, label: np.ndarray) -> None:
    """Writes a label map as 8-bit palette PNG, atomically.

    Args:
        path: The file. Missing folders are created.
        label: uint8 [H, W]: 0 background, k + 1 for class k, 255 ignore.

    Raises:
        ValueError: If ``label`` is not uint8 [H, W] with at least one pixel.
        OSError: If it cannot be written; then there is no file under ``path``, or the old one.
    """
    if label.dtype != np.uint8 or label.ndim != 2 or label.size == 0:
        raise ValueError(f'{path}: a label is uint8 [H, W], got {label.dtype} {list(label.shape)}')
    image = Image.fromarray(np.ascontiguousarray(label))
    # All 256 colours, so that 255 has one and PIL keeps 8 bits a pixel.
    image.putpalette([value for colour in voc_palette(256) for value in colour])
    buffer = io.BytesIO()
    image.save(buffer, format='PNG')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())


def read_label(path: str | os.PathLike, mask_values: Mapping[Any, int] | None = None) -> np.ndarray:
    """Reads a label map: the stored numbers of a palette or grey PNG, and its colours only where these are named.

    Args:
        path: The file.
        mask_values: What stands for what, where it is not 0 background, k + 1 class k and 255 ignore, see
            :func:`mmwsss.structures.mask_values.parse_mask_values`: ``{255: 1}`` for masks that are white where the
            only class is.

    Returns:
        uint8 [H, W].

    Raises:
        UserError: If the file is missing, truncated, no PNG, or not of one channel with 8 bits; or if it has a value
            or colour that ``mask_values`` does not name.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f'{path}: no such label file') from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        with Image.open(io.BytesIO(data), formats=['PNG']) as image:
            image.verify()  # checksums of all chunks, which loading does not look at
        with Image.open(io.BytesIO(data), formats=['PNG']) as image:
            raw_mode = image.tile[0][3] if image.tile else image.mode
            if mask_values is not None:
                values = parse_mask_values(mask_values)
                image = stored_values(image, raw_mode in RAW_MODES, values)
                stored = None if image is None else np.array(image)
            else:
                stored = np.array(image) if raw_mode in RAW_MODES else None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error,
            Image.DecompressionBombError) as error:
        reason = str(error).split('\n')[0] or type(error).__name__
        raise UserError(f'{path}: cannot be read as a PNG ({reason}); replace or remove it') from error
    if stored is None:
        raise UserError(f'{path}: a label must be an 8-bit palette or grey PNG, this one is {raw_mode}; '
                        'convert it to one number per pixel (0 background, k + 1 for class k, 255 ignore), or say what '
                        'its colours mean with mask_values={(r, g, b): label, ...}')
    return stored if mask_values is None else map_values(stored, values, path)
