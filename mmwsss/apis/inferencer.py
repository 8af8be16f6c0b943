"""CAMs of images from Python, without a data set."""
import copy
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log

from mmwsss.apis.image_sources import Images, is_one, list_sources, to_bgr
from mmwsss.apis.model_folder import find_model, is_segmentor, load_model
from mmwsss.apis.prediction_files import PredictionFiles
from mmwsss.apis.predictions import CAMPrediction, Prediction
from mmwsss.config.label_options import label_options
from mmwsss.datasets.transforms import LoadMask, LoadSaliency
from mmwsss.engine.large_images import limit_side
from mmwsss.registry import INFERENCE_HOOKS, TRANSFORMS
from mmwsss.structures.image_file import check_image
from mmwsss.utils.device import find_device
from mmwsss.utils.errors import UserError

Labels = str | Sequence[str] | Sequence[Sequence[str]]


class ImageInferencer(ABC):
    """Base class of the inferencers: loads a trained model and the images.

    A file in a folder or list that cannot be used is skipped, logged and listed in :attr:`skipped`.

    It is not derived from MMEngine's ``BaseInferencer``, which keeps all images and predictions in memory, stops at the
    first file that is not an image, loads weights that fit only in part, and returns dicts instead of prediction
    objects. Segmentors also work with mmsegmentation's ``MMSegInferencer``, see :func:`mmwsss.apis.export_model`.

    Args:
        config: The folder of a trained model (:func:`mmwsss.apis.export_model`); or a config with the model and the
            pipeline of its test data: a path, a name in the package, or the config itself, which is not changed.
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
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path | None = None,
                 classes: Sequence[str] | None = None, device: str | torch.device | None = None,
                 batch_size: int = 8) -> None:
        self.device = find_device(device)
        cfg, self.model, names = load_model(config, checkpoint, classes, self.device)
        self.classes = names[is_segmentor(cfg):]
        self.load, self.transform = _split_pipeline(cfg.test_dataloader.dataset.pipeline)
        self.batch_size = batch_size
        self.max_side = (cfg.get('test_cfg') or {}).get('max_side')
        self.skipped: list[tuple[str, str]] = []

    def _prepare(self, results: dict, label: Any) -> dict:
        """Transforms a loaded image; ``label`` is what was given for it."""
        return self.transform(results)

    @abstractmethod
    def _predict(self, batch: list[tuple[Path | None, np.ndarray | None, dict]], labelled: bool) -> list:
        """Returns the predictions for (path, RGB pixels of an image without path, transformed image) of one size."""

    def _iterate(self, images: Images, channel_order: str | None, labels: Sequence[Any] | None = None,
                 sources: Iterable | None = None) -> Iterator:
        self.skipped = []
        named = isinstance(images, (str, Path)) and is_one(images)
        return self._generate(list_sources(images) if sources is None else sources, labels, channel_order,
                              may_skip=not named)

    def _generate(self, sources: Iterable, labels: Sequence[Any] | None, channel_order: str | None,
                  may_skip: bool) -> Iterator:
        skipped, count = self.skipped, 0
        # Only neighbours of one size share a batch, so that a folder is never in memory as a whole.
        items = self._items(sources, labels, channel_order, skipped, may_skip)
        for _, run in groupby(items, key=lambda item: item[2]['inputs'].shape):
            while batch := list(islice(run, self.batch_size)):
                predictions = self._predict(batch, labels is not None)
                count += len(predictions)
                yield from predictions
        if count == 0 and skipped:
            path, reason = skipped[0]
            raise UserError(f'{path}: {reason} (and not one of the {len(skipped)} images can be used)')

    def _items(self, sources: Iterable, labels: Sequence[Any] | None, channel_order: str | None,
               skipped: list[tuple[str, str]],
               may_skip: bool) -> Iterator[tuple[Path | None, np.ndarray | None, dict]]:
        for i, source in enumerate(sources):
            names = None if labels is None else labels[i]
            if not isinstance(source, (str, PathLike)):
                pixels = to_bgr(source, channel_order)
                yield None, pixels[..., ::-1], self._prepare(self._from_array(pixels), names)
                continue
            path = Path(source)
            loaded = self._from_file(path)
            if not isinstance(loaded, str):
                yield path, None, self._prepare(loaded, names)
            elif may_skip:
                skipped.append((str(path), loaded))
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
        except (UserError, OSError):  # gone since; the message of the transform speaks of a data set
            return 'cannot be read as an image'

    def _from_array(self, image: np.ndarray) -> dict:
        size = image.shape[:2]
        image = image.astype(np.float32) if self.load.to_float32 else image
        return dict(img=image, img_shape=size, ori_shape=size, height=size[0], width=size[1])

    def _written(self, predictions: Iterator[Prediction], images: Images, out_dir: str | PathLike | None,
                 **options: Any) -> Iterator[Prediction]:
        """Hands predictions on, and writes them where there is a folder for them."""
        if out_dir is None:
            return predictions
        files = PredictionFiles(out_dir, self.classes, **options)
        if isinstance(images, (str, Path)):
            files.check_sources([Path(images), *map(Path, list_sources(images))])
        return files.write_all(predictions)


class CAMInferencer(ImageInferencer):
    """Makes CAMs of images with a trained model.

    A file in a folder or list that cannot be used is skipped, logged and listed in :attr:`skipped`.

    Args:
        config: The folder of a trained model (:func:`mmwsss.apis.export_model`); or a CAM config, the path of one, or
            its name in the package. It is not changed.
        checkpoint: Its checkpoint; not for a folder.
        classes: Names of the foreground classes; default: those that the checkpoint was trained with.
        device: Default: the GPU, if there is one.
        score_thr: An image without labels gets the CAMs of the classes whose score is above this.
        batch_size: Maximum number of images in a batch; only images of the same size share one.
        top_k: Number of classes, by highest score, for images without labels in which no score is above ``score_thr``;
            0: such an image has no class, its CAM no map and its label map only background. Default: the config's
            ``model.test_cfg.top_k``; where it has none, 1 (a ``LocalizationClassifier``: 5).
        hooks: Inference hooks in place of the config's, outermost first: names (``['MultiScaleFlip', 'SSA']``; with
            the settings of the config, where it has this hook) or configs; ``[]``: none.

    Attributes:
        classes: Names of the C foreground classes.
        model: The model, in evaluation mode.
        skipped: (path, reason) of the images that the last call skipped.

    Raises:
        UserError: For a checkpoint of another model, one without class names when none are given, the config of
            a segmentor, or an unknown hook.

    Examples:
        >>> inferencer = CAMInferencer('cam_efflite0_small', 'epoch_4.pth', hooks=['SSA'])  # doctest: +SKIP
        >>> for prediction in inferencer('photographs/', out_dir='cams', crf=True):  # doctest: +SKIP
        ...     print(prediction.source, prediction.classes, prediction.cam.shape)
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path | None = None,
                 classes: Sequence[str] | None = None, device: str | torch.device | None = None,
                 score_thr: float = 0.5, batch_size: int = 8, top_k: int | None = None,
                 hooks: Sequence[str | Mapping] | None = None) -> None:
        cfg, checkpoint = find_model(config, checkpoint)
        if is_segmentor(cfg):
            raise UserError(f'{cfg.filename or "the config"}: is of a segmentor; use SegInferencer')
        if hooks is not None and cfg.get('model'):
            cfg.model.inference_hooks = _hook_configs(hooks, cfg.model.get('inference_hooks') or ())
        super().__init__(cfg, checkpoint, classes, device, batch_size)
        self.score_thr = score_thr
        if top_k is None:
            top_k = (cfg.model.get('test_cfg') or {}).get('top_k')
        self.top_k = (self.model.test_cfg['top_k'] or 1) if top_k is None else top_k

    def __call__(self, images: Images, labels: Labels | None = None, *, channel_order: str | None = None,
                 out_dir: str | PathLike | None = None, threshold: float | None = None,
                 crf: bool = False) -> list[CAMPrediction]:
        """Makes CAMs.

        Args:
            images: An image file, a folder of them (with its sub folders), a :class:`~mmwsss.datasets.DataFolder` (all
                its images), an array uint8 [H, W, 3], a tensor [3, H, W] (uint8, or float in [0, 1]), a PIL image, or
                any of these but folders in a list.
            labels: The class names of the images, as a list with a name or a list of names for each image; for a single
                image its name or names. Default: the classes that the model predicts.
            channel_order: ``'bgr'`` or ``'rgb'``, for arrays and tensors. Default: BGR for arrays, RGB for tensors.
            out_dir: Folder for label maps, pictures and a list of them
                (:class:`mmwsss.apis.prediction_files.PredictionFiles`); default: nothing is written.
            threshold: Background score of these label maps; default: as ``mmwsss label``.
            crf: Refine these label maps with a dense CRF.

        Returns:
            One prediction per image, in the given order (for a folder, sorted by name), without the images in
            :attr:`skipped`.

        Raises:
            UserError: If a single file is not an image, a folder or list has no usable image, an array or tensor has
                another shape or type, or a label is not a class.
        """
        return list(self.iterate(images, labels, channel_order=channel_order, out_dir=out_dir, threshold=threshold,
                                 crf=crf))

    def iterate(self, images: Images, labels: Labels | None = None, *, channel_order: str | None = None,
                out_dir: str | PathLike | None = None, threshold: float | None = None,
                crf: bool = False) -> Iterator[CAMPrediction]:
        """Makes CAMs one after the other, for more images than fit into memory.

        Args:
            images: See :meth:`__call__`; also an iterator, from which images are taken one batch at a time.
            labels: See :meth:`__call__`, as for the other arguments.
            channel_order: See there.
            out_dir: See there.
            threshold: See there.
            crf: See there.

        Returns:
            A generator of the predictions that :meth:`__call__` returns. At most one batch of images is in memory.
            :attr:`skipped` is complete at its end.

        Raises:
            UserError: See :meth:`__call__`.
        """
        sources = None
        if labels is not None:
            sources = list(list_sources(images))
            labels = _by_image(labels, one=is_one(images))
            if len(labels) != len(sources):
                raise UserError(f'{len(labels)} labels were given for {len(sources)} images')
            if unknown := {name for names in labels for name in names} - set(self.classes):
                raise UserError(f'{sorted(unknown)} are not among the classes {self.classes}')
        return self._written(self._iterate(images, channel_order, labels, sources), images, out_dir,
                             **label_options(threshold, crf=crf))

    def _prepare(self, results: dict, label: Sequence[str] | None) -> dict:
        if label is not None:
            results['gt_img_label'] = np.array([name in label for name in self.classes], dtype=np.float32)
        return self.transform(results)

    @torch.no_grad()
    def _predict(self, batch: list[tuple[Path | None, np.ndarray | None, dict]],
                 labelled: bool) -> list[CAMPrediction]:
        data = limit_side(pseudo_collate([data for _, _, data in batch]), self.max_side)
        data = self.model.data_preprocessor(data, False)
        outputs = self.model.predict(data['inputs'], data['data_samples'],
                                     class_filter='label' if labelled else 'score', score_thr=self.score_thr,
                                     top_k=self.top_k)
        result = []
        for (source, pixels, _), output in zip(batch, outputs):
            scores = output.pred_img_label.score.tolist()
            result.append(CAMPrediction(
                source, output.pred_cam.data.float().cpu().numpy(),
                tuple(self.classes[k] for k in output.pred_img_label.label.tolist()),
                dict(zip(self.classes, scores)), tuple(output.ori_shape[:2]), output.class_filter, pixels=pixels))
        return result


def _by_image(labels: Labels, one: bool) -> list[list[str]]:
    """Returns the class names of every image; of a single image they may be given alone."""
    if isinstance(labels, str):
        labels = [labels]
    labels = list(labels)
    if one and all(isinstance(names, str) for names in labels):
        return [labels]
    return [[names] if isinstance(names, str) else list(names) for names in labels]


def _hook_configs(hooks: Sequence[str | Mapping], present: Sequence[Mapping]) -> list[dict]:
    by_name = {str(hook['type']).removeprefix('mmwsss.'): hook for hook in present}
    configs = []
    for hook in [hooks] if isinstance(hooks, (str, Mapping)) else hooks:
        config = dict(type=hook) if isinstance(hook, str) else dict(hook)
        cls = INFERENCE_HOOKS.get(config['type']) if isinstance(config['type'], str) else config['type']
        if cls is None:
            raise UserError(f'hooks: {config["type"]!r} is no inference hook; there are '
                            f'{", ".join(sorted(INFERENCE_HOOKS.module_dict))}')
        config = copy.deepcopy(dict(by_name[hook])) if isinstance(hook, str) and hook in by_name else config
        needed = [name for name, parameter in inspect.signature(cls).parameters.items()
                  if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        if missing := [name for name in needed if name not in config]:
            raise UserError(f'hooks: {config["type"]} needs {", ".join(missing)}; give its config, '
                            f'dict(type={config["type"]!r}, {missing[0]}=...)')
        configs.append(config)
    return configs


def _split_pipeline(pipeline: Sequence[dict]) -> tuple[LoadImageFromFile, Compose]:
    """Returns the transform that loads images, and the others without those that load ground truth."""
    steps = [TRANSFORMS.build(step) for step in pipeline]
    loaders = [step for step in steps if isinstance(step, LoadImageFromFile)]
    if len(loaders) != 1:
        raise UserError(f'test_dataloader.dataset.pipeline: has {len(loaders)} transforms that load an image '
                        '(LoadImage), but must have one')
    return loaders[0], Compose([step for step in steps
                                if not isinstance(step, (LoadImageFromFile, LoadMask, LoadSaliency))])
