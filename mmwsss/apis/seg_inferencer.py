"""Masks of images, arrays and folders by a trained segmentor, without a data set."""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.models.segmentors import BaseSegmentor

from mmwsss.apis.inferencer import ImageInferencer, Images
from mmwsss.models.affinity import BaseAffinityModel
from mmwsss.models.classifiers import BaseCAMModel
from mmwsss.registry import MODELS


@dataclass
class SegPrediction:
    """The label map of one image.

    Attributes:
        label: uint8 [H, W]: 0 background, k + 1 for class k.
        classes: Names of the C foreground classes.
        source: The image's path, or ``None`` for an array.
    """
    label: np.ndarray
    classes: tuple[str, ...]
    source: Path | None

    def shares(self) -> dict[str, float]:
        """Returns the fraction of the image that each class covers which is in it, the background included."""
        numbers, counts = np.unique(self.label, return_counts=True)
        names = ('background', *self.classes)
        return {names[number]: int(count) / self.label.size for number, count in zip(numbers, counts)}


class SegInferencer(ImageInferencer):
    """Makes masks with a trained segmentor.

    Args:
        config: The config of a segmentor, or the path of one, or its name in the package. It is not changed.
        checkpoint: Its checkpoint.
        classes: Names of the foreground classes; default the ones that the checkpoint was trained with.
        device: Default: the GPU, if there is one.
        batch_size: Images of one size that go through the model together.

    Attributes:
        omissions: (path, reason) of the images that the last call left out.

    Raises:
        UserError: For a checkpoint of another model, or one without class names when none are given.

    Examples:
        >>> inferencer = SegInferencer('deeplab_efflite0_small', 'epoch_8.pth')  # doctest: +SKIP
        >>> for prediction in inferencer('photographs/'):  # doctest: +SKIP
        ...     print(prediction.source, prediction.shares())
    """

    @staticmethod
    def _foreground(trained: tuple[str, ...]) -> tuple[str, ...]:
        return trained[1:]

    def _model_classes(self) -> tuple[str, ...]:
        return ('background', *self.classes)

    def __call__(self, images: Images) -> list[SegPrediction]:
        """Makes masks.

        Args:
            images: An image file, a folder of them, a BGR array uint8 [H, W, 3], or files and arrays in a list.

        Returns:
            One prediction an image, in the order given (a folder: sorted by name), without those in
            :attr:`omissions`.

        Raises:
            UserError: For one file that is no image, a folder or list without a single usable image, or an array of
                another kind.
        """
        return list(self.iterate(images))

    def iterate(self, images: Images) -> Iterator[SegPrediction]:
        """Makes masks one after the other, for more images than fit into memory; see :meth:`__call__`."""
        return self._iterate(images, self._sources(images))

    @torch.no_grad()
    def _predict(self, batch: list[tuple[Path | None, dict]], labelled: bool) -> list[SegPrediction]:
        outputs = self.model.test_step(pseudo_collate([data for _, data in batch]))
        return [SegPrediction(output.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8), self.classes, source)
                for (source, _), output in zip(batch, outputs)]


def is_segmentor(cfg: Config) -> bool:
    """Returns whether a config is one of a segmentor: of a model of mmseg's that gives a class to every pixel."""
    cls = _model_class(cfg)
    return issubclass(cls, BaseSegmentor) and not issubclass(cls, (BaseCAMModel, BaseAffinityModel))


def is_refiner(cfg: Config) -> bool:
    """Returns whether a config is one of a model that refines CAMs: AffinityNet, IRNet."""
    return issubclass(_model_class(cfg), BaseAffinityModel)


def _model_class(cfg: Config) -> type:
    kind = (cfg.get('model') or {}).get('type')
    return (MODELS.get(kind) if isinstance(kind, str) else kind) or object
