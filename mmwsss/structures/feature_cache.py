"""Features of images on disk, in half precision: computed once, read by every later run."""
import hashlib
import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmwsss.structures.cam_file import MALFORMED, MANIFEST_NAME
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_json, remove_leftovers, sha256_of_json, write_bytes, write_json

FORMAT = 'mmwsss features 1'


def image_digest(image: Tensor) -> str:
    """Returns the hex sha256 of the pixels of an image.

    Args:
        image: [..., H, W], uint8 or float32, on any device and in any memory format.
    """
    pixels = image.cpu().contiguous().numpy()
    return hashlib.sha256(f'{pixels.dtype.str}{pixels.shape}'.encode() + pixels.tobytes()).hexdigest()


class FeatureCache:
    """A folder with the features of images, by the content of the images.

    What the features were made with (weights, settings) has a folder of its own in it, named by its digest, with a
    ``manifest.json`` that states it. In it an image's features are ``<2 digits>/<digest of the image>.npz``: a float16
    array [K, h, w] by the name of every feature map. Neither the image's name nor where it lies matters, and an image
    that has changed is another one. Files are written to temporary names and renamed, so several processes may fill
    the folder at a time, and a run that was killed goes on from what is there.

    Args:
        folder: The folder; created where it is missing. It may be deleted at any time.
        settings: What the features depend on beside the image, as json values.

    Raises:
        UserError: If the folder is a file or cannot be written, or the manifest there is of something else.
    """

    def __init__(self, folder: str | os.PathLike, settings: Mapping[str, Any]) -> None:
        settings = dict(settings, format=FORMAT)
        self.folder = Path(folder).expanduser() / sha256_of_json(settings)[:16]
        manifest = self.folder / MANIFEST_NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not manifest.exists():
                write_json(manifest, settings)
            found = read_json(manifest)
        except OSError as error:
            raise UserError(f'{folder}: features cannot be kept there ({error.strerror}); choose another '
                            'cache_dir') from error
        except ValueError:
            found = None
        if found != settings:
            raise UserError(f'{manifest}: is not what mmwsss has written there; delete {self.folder}')
        remove_leftovers(self.folder, recursive=True)

    def path(self, digest: str) -> Path:
        """Returns the file of an image, by :func:`image_digest`."""
        return self.folder / digest[:2] / f'{digest}.npz'

    def read(self, digest: str) -> dict[str, Tensor] | None:
        """Returns an image's features, float16 K x h x w by name; ``None`` where there are none, or no whole ones."""
        path = self.path(digest)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                feats = {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            return None
        except MALFORMED as error:
            print_log(f'{path}: damaged ({type(error).__name__}), made again', 'current', logging.WARNING)
            return None
        if not feats or any(feat.dtype != np.float16 or feat.ndim != 3 for feat in feats.values()):
            print_log(f'{path}: holds no features, made again', 'current', logging.WARNING)
            return None
        return {name: torch.from_numpy(feat) for name, feat in feats.items()}

    def write(self, digest: str, feats: Mapping[str, Tensor]) -> None:
        """Writes the features of an image, float16 K x h x w by name.

        Raises:
            OSError: If they cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(buffer, **{name: feat.cpu().contiguous().numpy() for name, feat in feats.items()})
        path = self.path(digest)
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, buffer.getvalue())
