"""CAMs for images, arrays and folders from Python, without a data set."""
import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmwsss.apis.runner import load_for_inference
from mmwsss.config.config import fill_num_classes, read_config
from mmwsss.datasets import DataFolder
from mmwsss.datasets.layout import IMAGE_EXTENSIONS
from mmwsss.datasets.transforms import LoadMask, LoadSaliency
from mmwsss.engine.checkpoint import load_checkpoint_file, trained_classes
from mmwsss.engine.large_images import limit_side
from mmwsss.engine.setup import setup
from mmwsss.registry import MODELS, TRANSFORMS
from mmwsss.structures.image_file import check_image
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError

# A file, a folder of files, a data set, an array, or files and arrays one after the other.
Images = str | Path | DataFolder | np.ndarray | Iterable[str | Path | np.ndarray]


@dataclass
class CAMPrediction:
    """The CAM of one image.

    Attributes:
        cam: float32 [K, h, w] in [0, 1], one map per class in ``classes``, h = ceil(H / stride).
        classes: Names of the K classes.
        scores: Sigmoid score by class name, of all C classes.
        size: (H, W) of the image.
        gate: ``'label'`` or ``'score'``: what chose the K classes.
        source: The image's path, or ``None`` for an array.
    """
    cam: np.ndarray
    classes: tuple[str, ...]
    scores: dict[str, float]
    size: tuple[int, int]
    gate: str
    source: Path | None

    def full_size(self) -> np.ndarray:
        """Returns the maps at the size of the image, float32 [K, H, W]."""
        return np.asarray(resize_cam(self.cam, self.size))


class ImageInferencer:
    """What inferencers have in common: a trained model, and the ways that images come to it.

    One unusable file among many does not end the work: of a folder or a list it is left out, logged and listed in
    :attr:`omissions`.

    Args:
        config: A config with the model and the pipeline of its test data: a path, a name in the package, or the config
            itself, which is not changed.
        checkpoint: Its checkpoint.
        classes: Names of the foreground classes; default the ones that the checkpoint was trained with.
        device: Default: the GPU, if there is one.
        batch_size: Images of one size that go through the model together.

    Attributes:
        omissions: (path, reason) of the images that the last call left out.

    Raises:
        UserError: For a checkpoint of another model, or one without class names when none are given.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path, classes: Sequence[str] | None = None,
                 device: str | torch.device | None = None, batch_size: int = 8) -> None:
        setup()
        cfg = copy.deepcopy(config) if isinstance(config, Config) else read_config(config)
        if not cfg.get('model') or not cfg.get('test_dataloader'):
            raise UserError(f'{cfg.filename or "the config"}: has no model or no test_dataloader; name a config that '
                            'has both')
        init_default_scope(cfg.get('default_scope', 'mmwsss'))
        names = classes or self._foreground(trained_classes(load_checkpoint_file(checkpoint, 'cpu')))
        self.classes = tuple(names)
        if not self.classes:
            raise UserError(f'{checkpoint}: holds no class names; give them as classes=[...]')
        fill_num_classes(cfg.model, len(self._model_classes()))
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        self.model = MODELS.build(cfg.model).to(self.device).eval()
        load_for_inference(self.model, checkpoint, self._model_classes())
        self.load, self.transform = _split_pipeline(cfg.test_dataloader.dataset.pipeline)
        self.batch_size = batch_size
        self.max_side = (cfg.get('test_cfg') or {}).get('max_side')
        self.omissions: list[tuple[str, str]] = []

    @staticmethod
    def _foreground(trained: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the foreground classes among those that a checkpoint was trained with."""
        return trained

    def _model_classes(self) -> tuple[str, ...]:
        """Returns the classes that the model tells apart."""
        return self.classes

    def _prepare(self, results: dict, label: Any) -> dict:
        """Transforms a loaded image; ``label`` is what was given for it."""
        return self.transform(results)

    def _predict(self, batch: list[tuple[Path | None, dict]], labelled: bool) -> list:
        """Returns the predictions for (source, transformed image) of one size."""
        raise NotImplementedError

    def _iterate(self, images: Images, sources: Iterable, labels: Sequence[Any] | None = None) -> Iterator:
        self.omissions = []
        named = isinstance(images, (str, Path)) and not Path(images).is_dir()
        return self._generate(sources, labels, may_omit=not named)

    def _generate(self, sources: Iterable, labels: Sequence[Any] | None, may_omit: bool) -> Iterator:
        omissions, count = self.omissions, 0
        # Only neighbours of one size share a batch, so that a folder is never in memory as a whole.
        items = self._items(sources, labels, omissions, may_omit)
        for _, run in groupby(items, key=lambda item: item[1]['inputs'].shape):
            while batch := list(islice(run, self.batch_size)):
                predictions = self._predict(batch, labels is not None)
                count += len(predictions)
                yield from predictions
        if count == 0 and omissions:
            path, reason = omissions[0]
            raise UserError(f'{path}: {reason} (and not one of the {len(omissions)} images can be used)')

    def _items(self, sources: Iterable, labels: Sequence[Any] | None, omissions: list[tuple[str, str]],
               may_omit: bool) -> Iterator[tuple[Path | None, dict]]:
        for i, source in enumerate(sources):
            names = None if labels is None else labels[i]
            if isinstance(source, np.ndarray):
                yield None, self._prepare(self._from_array(source), names)
                continue
            path = Path(source)
            loaded = self._from_file(path)
            if not isinstance(loaded, str):
                yield path, self._prepare(loaded, names)
            elif may_omit:
                omissions.append((str(path), loaded))
                print_log(f'left out {path}: {loaded}', 'current', level=logging.WARNING)
            else:
                raise UserError(f'{path}: {loaded}; name another image')

    def _from_file(self, path: Path) -> dict | str:
        """Returns the loaded image, or why it cannot be used."""
        # OpenCV 4 alone would fill what is missing of a truncated image with grey.
        if reason := check_image(str(path)).reason:
            return reason
        try:
            return self.load(dict(img_path=str(path)))
        except UserError:  # gone since; the message of the transform speaks of a data set
            return 'cannot be read as an image'

    def _from_array(self, image: np.ndarray) -> dict:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise UserError(f'an image array is uint8 [H, W, 3] in BGR order, got {image.dtype} {image.shape}')
        size = image.shape[:2]
        image = image.astype(np.float32) if self.load.to_float32 else image
        return dict(img=image, img_shape=size, ori_shape=size, height=size[0], width=size[1])

    @staticmethod
    def _sources(images: Images) -> Iterable:
        if isinstance(images, np.ndarray):
            return [images]
        if isinstance(images, DataFolder):
            paths = images.image_paths()
            return [paths[stem] for stem in images.stems(None)]
        if not isinstance(images, (str, Path)):
            return images
        path = Path(images)
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir()
                       if file.suffix.lower() in IMAGE_EXTENSIONS and not file.name.startswith('.') and file.is_file())
        if not files:
            raise UserError(f'{path}: holds no images ({", ".join(sorted(IMAGE_EXTENSIONS))})')
        return files


class CAMInferencer(ImageInferencer):
    """Makes CAMs with a trained model.

    One unusable file among many does not end the work: of a folder or a list it is left out, logged and listed in
    :attr:`omissions`.

    Args:
        config: A CAM config, or the path of one, or its name in the package. It is not changed.
        checkpoint: Its checkpoint.
        classes: Names of the foreground classes; default the ones that the checkpoint was trained with.
        device: Default: the GPU, if there is one.
        score_thr: Classes whose sigmoid score is above this are shown for images without labels.
        batch_size: Images of one size that go through the model together.

    Attributes:
        omissions: (path, reason) of the images that the last call left out.

    Raises:
        UserError: For a checkpoint of another model, or one without class names when none are given.

    Examples:
        >>> inferencer = CAMInferencer('configs/cam/cam_efflite0_small.py', 'epoch_4.pth')  # doctest: +SKIP
        >>> for prediction in inferencer('photographs/'):  # doctest: +SKIP
        ...     print(prediction.source, prediction.classes, prediction.cam.shape)
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path, classes: Sequence[str] | None = None,
                 device: str | torch.device | None = None, score_thr: float = 0.5, batch_size: int = 8) -> None:
        super().__init__(config, checkpoint, classes, device, batch_size)
        self.model.test_cfg['score_thr'] = score_thr

    def __call__(self, images: Images, labels: Sequence[Sequence[str]] | None = None) -> list[CAMPrediction]:
        """Makes CAMs.

        Args:
            images: An image file, a folder of them, a :class:`~mmwsss.datasets.DataFolder` (all its images, in sub
                folders too), a BGR array uint8 [H, W, 3], or files and arrays in a list.
            labels: Class names of each image; default: the classes that the model sees in it.

        Returns:
            One prediction an image, in the order given (a folder: sorted by name), without those in
            :attr:`omissions`.

        Raises:
            UserError: For one file that is no image, a folder or list without a single usable image, an array of
                another kind, or a name that is no class.
        """
        return list(self.iterate(images, labels))

    def iterate(self, images: Images, labels: Sequence[Sequence[str]] | None = None) -> Iterator[CAMPrediction]:
        """Makes CAMs one after the other, for more images than fit into memory.

        Args:
            images: See :meth:`__call__`. A list may also be an iterator, which is read as predictions are.
            labels: See :meth:`__call__`.

        Returns:
            A generator of the predictions that :meth:`__call__` gives. It holds at most a batch of images at a time.
            :attr:`omissions` is complete when it has ended.

        Raises:
            UserError: See there; errors of one file when it is its turn.
        """
        sources = self._sources(images)
        if labels is not None:
            sources = list(sources)
            if len(labels) != len(sources):
                raise UserError(f'{len(labels)} labels were given for {len(sources)} images')
            if unknown := {name for names in labels for name in names} - set(self.classes):
                raise UserError(f'{sorted(unknown)} are not among the classes {self.classes}')
        return self._iterate(images, sources, labels)

    def _prepare(self, results: dict, label: Sequence[str] | None) -> dict:
        if label is not None:
            results['gt_img_label'] = np.array([name in label for name in self.classes], dtype=np.float32)
        return self.transform(results)

    @torch.no_grad()
    def _predict(self, batch: list[tuple[Path | None, dict]], labelled: bool) -> list[CAMPrediction]:
        # Set here, since another iteration may be under way as well.
        self.model.test_cfg['gate'] = 'label' if labelled else 'score'
        outputs = self.model.test_step(limit_side(pseudo_collate([data for _, data in batch]), self.max_side))
        result = []
        for (source, _), output in zip(batch, outputs):
            scores = output.pred_img_label.score.tolist()
            result.append(CAMPrediction(
                cam=output.pred_cam.data.float().cpu().numpy(),
                classes=tuple(self.classes[k] for k in output.pred_img_label.label.tolist()),
                scores=dict(zip(self.classes, scores)), size=tuple(output.ori_shape[:2]), gate=output.cam_gate,
                source=source))
        return result


def _split_pipeline(pipeline: Sequence[dict]) -> tuple[LoadImageFromFile, Compose]:
    """Returns the transform that loads images, and the others without those that load ground truth."""
    steps = [TRANSFORMS.build(step) for step in pipeline]
    loaders = [step for step in steps if isinstance(step, LoadImageFromFile)]
    if len(loaders) != 1:
        raise UserError(f'test_dataloader.dataset.pipeline: has {len(loaders)} transforms that load an image '
                        '(LoadImage), but must have one')
    return loaders[0], Compose([step for step in steps
                                if not isinstance(step, (LoadImageFromFile, LoadMask, LoadSaliency))])
