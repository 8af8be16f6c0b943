"""Images without their EXIF orientation, for masks that were drawn on the pixels as they are stored."""
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmwsss.datasets.layout import IMAGE_EXTENSIONS, walk_files
from mmwsss.structures.image_file import ORIENTATION, check_image_content, is_oriented
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes

_JPEG_START, _PNG_START = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
_TIFF_ORDER = {b'II*\0': '<', b'MM\0*': '>'}
_SCAN = 0xDA  # behind this segment of a JPEG come the pixels


def without_exif(data: bytes) -> bytes | None:
    """Takes the EXIF data out of a JPEG or PNG, and the orientation out of a TIFF; the pixels stay byte for byte.

    Args:
        data: The file.

    Returns:
        The file without it; ``None`` for other formats.
    """
    if data.startswith(_JPEG_START):
        return _JPEG_START + b''.join(part for kind, part in _jpeg_segments(data)
                                      if not (kind == 0xE1 and part[4:10] == b'Exif\0\0'))
    if data.startswith(_PNG_START):
        return _PNG_START + b''.join(part for kind, part in _png_chunks(data) if kind != b'eXIf')
    if data[:4] in _TIFF_ORDER:
        return _upright_tiff(data, _TIFF_ORDER[data[:4]])
    return None


def _upright_tiff(data: bytes, order: str) -> bytes:
    # The orientation is an entry of the image's directory: tag, type, count, and the value (two bytes).
    result = bytearray(data)
    start, = struct.unpack_from(f'{order}I', data, 4)
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from(f'{order}H', data, start)[0], 12):
        if struct.unpack_from(f'{order}H', data, entry)[0] == ORIENTATION:
            struct.pack_into(f'{order}H', result, entry + 8, 1)
    return bytes(result)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = len(_JPEG_START)
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        if data[at + 1] == 0xFF:  # a marker may have any number of these before it
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2:at + 4], 'big')
        yield data[at + 1], data[at:end]
        at = end
    yield _SCAN, data[at:]


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG_START)
    while at + 12 <= len(data):
        end = at + 12 + struct.unpack('>I', data[at:at + 4])[0]
        yield data[at + 4:at + 8], data[at:end]
        at = end
    yield b'', data[at:]  # what some programs write behind the last chunk


def drop_orientation(images_dir: str | os.PathLike, out_dir: str | os.PathLike) -> dict:
    """Writes a folder of images anew, such that they are read as they are stored, whatever their EXIF data says.

    JPEG, PNG and TIFF files keep their pixels byte for byte; other formats with an orientation become PNG files. An
    image without an orientation is copied.

    Args:
        images_dir: The folder, with sub folders; hidden files and folders are passed over.
        out_dir: The folder to write, with the same sub folders.

    Returns:
        ``num_images``, ``num_changed``, and ``skipped``, (path, reason) of what is no image.

    Raises:
        UserError: If there is no such folder, it holds no image, or the two are one.
    """
    source, target = Path(images_dir), Path(out_dir)
    if not source.is_dir():
        raise UserError(f'{source}: no such folder')
    if target.resolve() == source.resolve():
        raise UserError(f'{target}: is the folder of the images; give another one to write')
    paths = [path for path in walk_files(source, IMAGE_EXTENSIONS) if target.resolve() not in path.resolve().parents]
    if not paths:
        raise UserError(f'{source}: holds no image')
    skipped, changed = [], 0
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            skipped.append((str(path), f'cannot be read ({error.strerror})'))
            continue
        if reason := check_image_content(data).reason:
            skipped.append((str(path), reason))
            continue
        result = target / path.relative_to(source)
        is_changed = is_oriented(data)
        plain = without_exif(data) if is_changed else data
        if plain is None:
            result = result.with_suffix('.png')
            if path.with_suffix('.png').exists():
                skipped.append((str(path), f'there is a {result.name} beside it, which its copy would replace'))
                continue
        result.parent.mkdir(parents=True, exist_ok=True)
        if plain is None:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            plain = cv2.imencode('.png', pixels)[1].tobytes()
        write_bytes(result, plain)
        changed += is_changed
    return dict(num_images=len(paths) - len(skipped), num_changed=changed, skipped=skipped)
