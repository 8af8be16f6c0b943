"""Segmentation of images with a trained segmentor, without a data set."""
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from mmwsss.apis.image_sources import Images
from mmwsss.apis.inferencer import ImageInferencer
from mmwsss.apis.predictions import SegPrediction


class SegInferencer(ImageInferencer):
    """Segments images with a trained segmentor.

    Args:
        config: The folder of a trained model (:func:`mmwsss.apis.export_model`); or the config of a segmentor, the path
            of one, or its name in the package. It is not changed.
        checkpoint: Its checkpoint; not for a folder.
        classes: Names of the foreground classes; default: those that the checkpoint was trained with.
        device: Default: the GPU, if there is one.
        batch_size: Maximum number of images in a batch; only images of the same size share one.

    Attributes:
        classes: Names of the C foreground classes.
        model: The model, in evaluation mode.
        skipped: (path, reason) of the images that the last call skipped.

    Raises:
        UserError: For a checkpoint of another model, or one without class names when none are given.

    Examples:
        >>> inferencer = SegInferencer('work_dirs/run/segmentor/model')  # doctest: +SKIP
        >>> for prediction in inferencer('photographs/', out_dir='masks'):  # doctest: +SKIP
        ...     print(prediction.source, prediction.shares())
    """

    def __call__(self, images: Images, *, channel_order: str | None = None,
                 out_dir: str | PathLike | None = None) -> list[SegPrediction]:
        """Segments images.

        Args:
            images: An image file, a folder of them (with its sub folders), a :class:`~mmwsss.datasets.DataFolder` (all
                its images), an array uint8 [H, W, 3], a tensor [3, H, W] (uint8, or float in [0, 1]), a PIL image, or
                any of these but folders in a list.
            channel_order: ``'bgr'`` or ``'rgb'``, for arrays and tensors. Default: BGR for arrays, RGB for tensors.
            out_dir: Folder for masks, pictures and a list of them
                (:class:`mmwsss.apis.prediction_files.PredictionFiles`); default: nothing is written.

        Returns:
            One prediction per image, in the given order (for a folder, sorted by name), without the images in
            :attr:`skipped`.

        Raises:
            UserError: If a single file is not an image, a folder or list has no usable image, or an array or tensor has
                another shape or type.
        """
        return list(self.iterate(images, channel_order=channel_order, out_dir=out_dir))

    def iterate(self, images: Images, *, channel_order: str | None = None,
                out_dir: str | PathLike | None = None) -> Iterator[SegPrediction]:
        """Segments images one after the other, for more images than fit into memory; see :meth:`__call__`."""
        return self._written(self._iterate(images, channel_order), images, out_dir)

    @torch.no_grad()
    def _predict(self, batch: list[tuple[Path | None, np.ndarray | None, dict]],
                 labelled: bool) -> list[SegPrediction]:
        outputs = self.model.test_step(pseudo_collate([data for _, _, data in batch]))
        return [SegPrediction(source, output.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8), self.classes,
                              pixels=pixels)
                for (source, pixels, _), output in zip(batch, outputs)]
