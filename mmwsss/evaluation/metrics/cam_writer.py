"""Writes predictions as CAM files."""
import logging
import math

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log

from mmwsss.evaluation.metrics.file_writer import FileWriter
from mmwsss.registry import METRICS
from mmwsss.structures.cam_file import (
    MANIFEST_NAME,
    CAMFile,
    CAMManifest,
    cam_path,
    open_cam_dir,
    read_manifest,
    write_cam,
)
from mmwsss.utils.errors import UserError


@METRICS.register_module()
class CAMWriter(FileWriter):
    """Writes ``pred_cam`` of every sample to ``out_dir/<stem>.npz``.

    ``evaluate`` returns ``num_cams``, the number of files written by all ranks, and warns of images whose maps are zero
    everywhere.

    Args:
        out_dir: Folder of the CAM files. A stem with slashes goes to sub folders.
        stride: Stride of the maps; it must be the model's (``test_cfg.stride``).
        manifest: ``checkpoint_sha256``, ``config_hash`` and ``extra`` of the folder's
            :class:`mmwsss.structures.CAMManifest`; class names and stride are added. A folder with another manifest
            is an error. ``None``: the manifest that is there is believed (``mmwsss cam`` has compared it) as long as
            its class names are those of the data set; where there is none, one without checkpoint is written.
        prefix: Put before ``num_cams``, with a slash.
    """

    count_name = 'num_cams'

    def __init__(self, out_dir: str, stride: int = 4, manifest: dict | None = None, prefix: str | None = None) -> None:
        super().__init__(out_dir, prefix)
        self.stride = stride
        self.manifest = manifest
        self._is_open = False
        self._empty: list[str] = []

    def write(self, sample: dict, stem: str) -> None:
        """Writes the CAM file of a sample.

        Raises:
            UserError: If the folder belongs to another manifest, or the maps are of another stride or invalid.
        """
        self._open()
        size = tuple(int(n) for n in sample['ori_shape'][:2])
        cam = sample['pred_cam']['data'].detach().cpu()
        grid = tuple(math.ceil(n / self.stride) for n in size)
        if tuple(cam.shape[1:]) != grid:
            raise UserError(f'{cam_path(self.out_dir, stem)}: the model gives maps of {tuple(cam.shape[1:])} for an '
                            f'image of {size}, which is not stride {self.stride}; set the same stride in '
                            'model.test_cfg and CAMWriter')
        classes = sample['pred_img_label']['label'].cpu().numpy().astype(np.int64)
        if len(classes) and not cam.any():
            self._empty.append(stem)
        write_cam(cam_path(self.out_dir, stem), CAMFile(classes, cam.half().numpy(), size))

    def _open(self) -> None:
        if self._is_open:
            return
        classes = tuple(self.dataset_meta['classes'])
        if self.manifest is None and (self.out_dir / MANIFEST_NAME).exists():
            found = read_manifest(self.out_dir)
            if found.classes != classes or found.extra.get('stride', self.stride) != self.stride:
                raise UserError(f'{self.out_dir / MANIFEST_NAME}: the CAM files there are of other classes or another '
                                'stride; choose another folder or delete it')
        else:
            given = dict(dict(checkpoint_sha256=None, config_hash=None, extra={}), **(self.manifest or {}))
            extra = dict(given.pop('extra'), stride=self.stride)
            open_cam_dir(self.out_dir, CAMManifest(classes=classes, extra=extra, **given))
        self._is_open = True

    def evaluate(self, size: int) -> dict[str, int]:
        """Returns the number of files written; see :class:`FileWriter`. The folder is there even without a file."""
        self._open()
        counts = torch.tensor([len(self._empty), self.count])
        all_reduce(counts, op='sum')
        if int(counts[0]):
            names = f' ({", ".join(self._empty[:3])}{", ..." if len(self._empty) > 3 else ""})' if self._empty else ''
            print_log(f'{self.out_dir}: the maps of {int(counts[0])} of {int(counts[1])} images are zero everywhere'
                      f'{names}: the model sees nothing of their classes there, and labels made of them are '
                      'background; check its training', logger='current', level=logging.WARNING)
        self._empty = []
        return super().evaluate(size)
