"""CAM files: the class activation maps of one image on disk, and the manifest of a folder of them."""
import io
import json
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmwsss.structures.settings_folder import MANIFEST_NAME, SettingsFolder
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes

MANIFEST_FORMAT = 'mmwsss CAM folder 1'
KEYS = ('classes', 'cam', 'size')
# What numpy's readers of zip archives and array headers raise on a file that is not what it should be.
MALFORMED = (ValueError, KeyError, EOFError, TypeError, OverflowError, SyntaxError, NotImplementedError,
             RuntimeError, MemoryError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error)


@dataclass(eq=False)
class CAMFile:
    """The content of one CAM file ``<stem>.npz``.

    Attributes:
        classes: int64 [K], 0-based ids of the foreground classes whose maps are kept; K may be 0.
        cam: float16 [K, h, w] in [0, 1]; h = ceil(H / stride), w = ceil(W / stride) for one integer stride.
        size: (H, W) of the image.
    """
    classes: np.ndarray
    cam: np.ndarray
    size: tuple[int, int]


@dataclass
class CAMManifest:
    """What the CAM files of one folder were made from; two manifests match when they are equal.

    Attributes:
        checkpoint_sha256: Hex digest of the checkpoint, ``None`` where it is not known.
        config_hash: Hex digest of the config, ``None`` where it is not known.
        classes: Names of the C foreground classes.
        extra: Anything else that the files depend on (stride, scales, class_filter, ...), as json values.
    """
    checkpoint_sha256: str | None
    config_hash: str | None
    classes: Sequence[str]
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.classes = tuple(self.classes)
        # As json will give it back (tuples become lists), so that a manifest equals itself once read.
        self.extra = json.loads(json.dumps(self.extra))


def stem_path(folder: str | os.PathLike, stem: str, suffix: str) -> Path:
    """Returns ``folder/stem + suffix``; a stem with slashes names a file in sub folders.

    Args:
        folder: The folder of a stage's files.
        stem: The image's path without suffix, relative to the folder of the images.
        suffix: Such as ``'.npz'``.

    Raises:
        UserError: If the stem is empty or would leave ``folder``.
    """
    if not stem or stem.startswith('/') or '..' in PurePosixPath(stem).parts:
        raise UserError(f'{stem!r}: not an image name that can name a file in {folder}; mend the split or label file')
    # Not with_suffix: stems may contain dots.
    return Path(folder, stem + suffix)


def cam_path(cam_dir: str | os.PathLike, stem: str) -> Path:
    """Returns the path of an image's CAM file, see :func:`stem_path`."""
    return stem_path(cam_dir, stem, '.npz')


def write_cam(path: str | os.PathLike, cam_file: CAMFile) -> None:
    """Writes a CAM file atomically; the same content gives the same bytes.

    Args:
        path: The file. Missing folders are created.
        cam_file: Its content.

    Raises:
        UserError: If the content is not a valid CAM, e.g. not finite after a training that diverged.
        OSError: If it cannot be written; then there is no file under ``path``, or the old one.
    """
    if problem := _find_problem(cam_file):
        raise UserError(f'{path}: not written, {problem}; check the checkpoint and the options of the CAM')
    arrays = dict(classes=cam_file.classes, cam=cam_file.cam, size=np.array(cam_file.size, np.int64))
    buffer = io.BytesIO()
    # Zip members written by np.savez carry a fixed date. A Fortran-ordered array would be stored as such.
    np.savez(buffer, **{key: np.ascontiguousarray(array) for key, array in arrays.items()})
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())


def read_cam(path: str | os.PathLike) -> CAMFile:
    """Reads and checks a CAM file.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        UserError: If the file is missing, truncated, holds pickled objects, or is no valid CAM file.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f'{path}: no such CAM file; run mmwsss cam') from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        cam_file, problem = _parse(data)
    except MALFORMED as error:
        cam_file, problem = None, str(error).split('\n')[0] or type(error).__name__
    if problem:
        raise UserError(f'{path}: not a valid CAM file ({problem}); delete it and run mmwsss cam again')
    return cam_file


def _parse(data: bytes) -> tuple[CAMFile | None, str | None]:
    """Returns the content of a file's bytes and what is wrong with it, if anything."""
    if not data.startswith(b'PK'):
        return None, 'it is no npz archive'
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        if sorted(archive.files) != sorted(KEYS):
            return None, f'it holds {sorted(archive.files)} instead of {sorted(KEYS)}'
        arrays = {key: archive[key] for key in KEYS}
    size = arrays['size']
    if size.dtype != np.int64 or size.shape != (2,):
        return None, f'size is {size.dtype} {list(size.shape)} instead of int64 [2]'
    cam_file = CAMFile(arrays['classes'], arrays['cam'], (int(size[0]), int(size[1])))
    return cam_file, _find_problem(cam_file)


def _find_problem(cam_file: CAMFile) -> str | None:
    """Says in a few words what is wrong with the content of a CAM file."""
    classes, cam, size = cam_file.classes, cam_file.cam, cam_file.size
    if classes.dtype != np.int64 or classes.ndim != 1:
        return f'classes is {classes.dtype} {list(classes.shape)} instead of int64 [K]'
    if cam.dtype != np.float16 or cam.ndim != 3 or len(cam) != len(classes):
        return f'cam is {cam.dtype} {list(cam.shape)} instead of float16 [{len(classes)}, h, w]'
    if len(np.unique(classes)) != len(classes) or (classes < 0).any():
        return f'classes are {classes.tolist()}, not distinct ids from 0 on'
    if not _has_integral_stride(cam.shape[1:], size):
        return f'maps of {cam.shape[1]} x {cam.shape[2]} do not fit an image of {size[0]} x {size[1]} at any stride'
    # NaN fails both comparisons.
    if not ((cam >= 0) & (cam <= 1)).all():
        return 'cam has values that are not in [0, 1] or not finite'
    return None


def _has_integral_stride(grid: Sequence[int], size: Sequence[int]) -> bool:
    """Whether one integer s gives ceil(n / s) = m for both sides, m of ``grid`` and n of ``size``."""
    low, high = 1, max(size)
    for m, n in zip(grid, size):
        if not 1 <= m <= n:
            return False
        # ceil(n / s) <= m  <=>  s >= n / m;  ceil(n / s) > m - 1  <=>  s < n / (m - 1).
        low = max(low, -(-n // m))
        if m > 1:
            high = min(high, (n - 1) // (m - 1))
    return low <= high


def read_manifest(cam_dir: str | os.PathLike) -> CAMManifest:
    """Reads the manifest of a folder of CAM files.

    Raises:
        UserError: If it is missing or malformed.
    """
    path = Path(cam_dir, MANIFEST_NAME)
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f'{path}: no such file, so {cam_dir} is no folder of CAM files; run mmwsss cam') from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: not valid json ({error}); delete {cam_dir} and run mmwsss cam again') from error
    types = dict(format=str, checkpoint_sha256=str | None, config_hash=str | None, classes=list, extra=dict)
    if (not isinstance(content, dict) or content.keys() != types.keys() or content.pop('format') != MANIFEST_FORMAT
            or not all(isinstance(value, types[key]) for key, value in content.items())
            or not all(isinstance(name, str) for name in content['classes'])):
        raise UserError(f'{path}: not a manifest of CAM files; delete {cam_dir} and run mmwsss cam again')
    return CAMManifest(**content)


def open_cam_dir(out_dir: str | os.PathLike, manifest: CAMManifest) -> bool:
    """Prepares a folder for CAM files; every rank may call it at the same time.

    What killed processes have left half-written there is removed (:func:`mmwsss.utils.fileio.remove_leftovers`).

    Args:
        out_dir: The folder; it and its manifest are created where they are missing.
        manifest: What the files will be made from.

    Returns:
        Whether the folder was there with the same manifest: the CAM files in it can be kept.

    Raises:
        UserError: If the folder belongs to another manifest, or has CAM files and no manifest.
    """
    settings = dict(format=MANIFEST_FORMAT, **asdict(manifest))
    folder = SettingsFolder(out_dir, settings, 'CAM files', suffix='.npz', groups=('extra',), difference='({} differ)',
                            read=lambda path: dict(format=MANIFEST_FORMAT, **asdict(read_manifest(path.parent))))
    return not folder.open()
