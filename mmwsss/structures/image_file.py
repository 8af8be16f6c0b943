"""Image files of any kind, decoded fully: OpenCV alone fills what is missing of a truncated JPEG with grey."""
import io
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmwsss.utils.errors import UserError

ORIENTATION = 0x0112  # the EXIF tag
TIFF_SIZE = (256, 257)  # the tags of width and height
# Formats with EXIF data beside what else PIL takes an orientation from.
EXIF_FORMATS = ('JPEG', 'MPO', 'PNG', 'WEBP')
# What undoes an orientation.
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}


@dataclass(frozen=True)
class FileCheck:
    """What decoding a file showed.

    Attributes:
        height: Height in pixels after EXIF rotation, 0 when the file cannot be used.
        width: Width, likewise.
        ids: The values that occur in a mask, ascending; of a saliency map the largest alone.
        reason: Why the file cannot be used; empty when it can.
        lasting: Whether decoding the same bytes again would show the same. Not so for a disk error.
        turned: Whether the EXIF orientation of an image exchanges height and width.
    """
    height: int = 0
    width: int = 0
    ids: tuple[int, ...] = ()
    reason: str = ''
    lasting: bool = field(default=True, compare=False)
    turned: bool = field(default=False, compare=False)


def check_image(path: str) -> FileCheck:
    """Decodes an image fully.

    Args:
        path: The file.

    Returns:
        Its size as :func:`read_image` gives it, or why it is unusable.
    """
    return _decode(path)[0]


def check_image_content(data: bytes) -> FileCheck:
    """Does the same as :func:`check_image` for the content of a file."""
    return _decode_content(data)[0]


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image of any kind as uint8 [H, W, 3], RGB, rotated as its EXIF tag says.

    Raises:
        UserError: If it is missing, truncated or no image.
    """
    check, pixels = _decode(str(path))
    if check.reason:
        raise UserError(f'{path}: {check.reason}')
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Returns (height, width) of an image as :func:`read_image` gives it, from its header where that tells.

    Raises:
        UserError: If it is missing or no image.
    """
    try:
        with Image.open(path) as image:
            # The size of a TIFF is turned already in some versions of PIL; its tags are not.
            width, height = (image.tag_v2[tag] for tag in TIFF_SIZE) if image.format == 'TIFF' else image.size
            return (width, height) if _is_turned(image) else (height, width)
    except Exception:  # a damaged file can raise nearly anything; and formats that PIL does not know are OpenCV's
        return read_image(path).shape[:2]


def is_oriented(data: bytes) -> bool:
    """Says whether the EXIF data of an image has it turned or mirrored.

    Args:
        data: The content of an image file. Formats that PIL does not know count as not oriented.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _orientation(image) != 1
    except UnidentifiedImageError:
        return False


def _is_turned(image: Image.Image) -> bool:
    return _orientation(image) in (5, 6, 7, 8)


def upright(image: Image.Image) -> Image.Image:
    """Turns an image that PIL has opened as :func:`read_image` turns its file; others as their EXIF data says."""
    if image.format in EXIF_FORMATS:
        turn = TURNS.get(_orientation(image))
        return image.copy() if turn is None else image.transpose(turn)
    return ImageOps.exif_transpose(image)


def _orientation(image: Image.Image) -> int:
    """Returns the orientation that OpenCV reads: that of EXIF data, not what else may say one, such as XMP."""
    try:
        if image.format == 'TIFF':
            return image.tag_v2.get(ORIENTATION, 1)
        if image.format not in EXIF_FORMATS:
            return image.getexif().get(ORIENTATION, 1)
        if image.format == 'PNG' and 'exif' not in image.info:
            image.load()  # it may come behind the pixels
        exif = Image.Exif()
        exif.load(image.info.get('exif') or b'')
        return exif.get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):  # a damaged tag, which OpenCV ignores
        return 1


def _decode(path: str) -> tuple[FileCheck, np.ndarray | None]:
    """Returns what decoding showed, and BGR uint8 [H, W, 3] where it succeeded."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        return FileCheck(reason=f'cannot be read ({error.strerror})', lasting=False), None
    return _decode_content(data)


def _decode_content(data: bytes) -> tuple[FileCheck, np.ndarray | None]:
    if not data:
        return FileCheck(reason='empty file'), None
    turned = False
    try:
        with Image.open(io.BytesIO(data)) as image:
            turned = _is_turned(image)
            # Every byte of a JPEG is still read, but only an eighth of its lines and columns is computed.
            image.draft('L', (1, 1))
            image.load()
    except UnidentifiedImageError:
        pass  # Formats that PIL does not know are OpenCV's to decide; it is the one that training uses.
    except Exception as error:  # a damaged file can raise nearly anything: OSError, SyntaxError, struct.error ...
        return FileCheck(reason=f'unreadable image ({_one_line(error)})',
                         lasting=not isinstance(error, MemoryError)), None
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        return FileCheck(reason=f'unreadable image ({_one_line(error)})'), None
    if pixels is None:
        return FileCheck(reason='unreadable image'), None
    return FileCheck(*pixels.shape[:2], turned=turned), pixels


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()) or type(error).__name__
