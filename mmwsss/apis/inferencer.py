"""CAMs for images, arrays and folders from Python, without a data set."""
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope

from mmwsss.apis.config import fill_num_classes, read_config
from mmwsss.apis.runner import load_for_inference
from mmwsss.datasets.layout import IMAGE_EXTENSIONS
from mmwsss.engine.checkpoint import load_checkpoint_file, trained_classes
from mmwsss.registry import MODELS, TRANSFORMS
from mmwsss.structures.cam_file import resize_cam
from mmwsss.utils.errors import UserError


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


class CAMInferencer:
    """Makes CAMs with a trained model.

    Args:
        config: A CAM config, or the path of one.
        checkpoint: Its checkpoint.
        classes: Names of the foreground classes; default the ones that the checkpoint was trained with.
        device: Default: the GPU, if there is one.
        score_thr: Classes whose sigmoid score is above this are shown for images without labels.
        batch_size: Images of one size that go through the model together.

    Raises:
        UserError: For a checkpoint of another model, or one without class names when none are given.

    Examples:
        >>> inferencer = CAMInferencer('configs/cam/cam_efflite0_small.py', 'epoch_4.pth')  # doctest: +SKIP
        >>> for prediction in inferencer('photographs/'):  # doctest: +SKIP
        ...     print(prediction.source, prediction.classes, prediction.cam.shape)
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path, classes: Sequence[str] | None = None,
                 device: str | torch.device | None = None, score_thr: float = 0.5, batch_size: int = 8) -> None:
        cfg = config if isinstance(config, Config) else read_config(config)
        init_default_scope(cfg.get('default_scope', 'mmwsss'))
        self.classes = tuple(classes or trained_classes(load_checkpoint_file(checkpoint, 'cpu')))
        if not self.classes:
            raise UserError(f'{checkpoint}: holds no class names; give them as classes=[...]')
        fill_num_classes(cfg.model, len(self.classes))
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        self.model = MODELS.build(cfg.model).to(self.device).eval()
        load_for_inference(self.model, checkpoint, self.classes)
        self.model.test_cfg['score_thr'] = score_thr
        pipeline = cfg.test_dataloader.dataset.pipeline
        self.load = TRANSFORMS.build(pipeline[0])
        self.transform = Compose([TRANSFORMS.build(step) for step in pipeline[1:]])
        self.batch_size = batch_size

    def __call__(self, images: str | Path | np.ndarray | Sequence,
                 labels: Sequence[Sequence[str]] | None = None) -> list[CAMPrediction]:
        """Makes CAMs.

        Args:
            images: An image file, a folder of them, a BGR array uint8 [H, W, 3], or a list of files and arrays.
            labels: Class names of each image; default: the classes that the model sees in it.

        Returns:
            One prediction an image, in the order given (a folder: sorted by name).

        Raises:
            UserError: For a file that is no image, a folder without images, or a name that is no class.
        """
        sources = self._sources(images)
        if labels is not None and len(labels) != len(sources):
            raise UserError(f'{len(labels)} labels were given for {len(sources)} images')
        self.model.test_cfg['gate'] = 'score' if labels is None else 'label'
        predictions: list[CAMPrediction] = []
        items = ((source, self._load(source, None if labels is None else labels[i]))
                 for i, source in enumerate(sources))
        # Only neighbours of one size share a batch, so that a folder is never in memory as a whole.
        for _, run in groupby(items, key=lambda item: item[1]['inputs'].shape):
            batch: list = []
            for item in run:
                batch.append(item)
                if len(batch) == self.batch_size:
                    predictions += self._predict(batch)
                    batch = []
            if batch:
                predictions += self._predict(batch)
        return predictions

    @torch.no_grad()
    def _predict(self, batch: list) -> list[CAMPrediction]:
        outputs = self.model.test_step(pseudo_collate([data for _, data in batch]))
        result = []
        for (source, _), output in zip(batch, outputs):
            scores = output.pred_img_label.score.tolist()
            result.append(CAMPrediction(
                cam=output.pred_cam.data.float().cpu().numpy(),
                classes=tuple(self.classes[k] for k in output.pred_img_label.label.tolist()),
                scores=dict(zip(self.classes, scores)), size=tuple(output.ori_shape[:2]), gate=output.cam_gate,
                source=None if isinstance(source, np.ndarray) else Path(source)))
        return result

    def _sources(self, images) -> list:
        if isinstance(images, np.ndarray):
            return [images]
        if not isinstance(images, (str, Path)):
            return list(images)
        path = Path(images)
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_EXTENSIONS)
        if not files:
            raise UserError(f'{path}: holds no images ({", ".join(sorted(IMAGE_EXTENSIONS))})')
        return files

    def _load(self, source, names: Sequence[str] | None) -> dict:
        if isinstance(source, np.ndarray):
            if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8:
                raise UserError(f'an image array is uint8 [H, W, 3] in BGR order, got {source.dtype} {source.shape}')
            size = source.shape[:2]
            results = dict(img=source, img_shape=size, ori_shape=size, height=size[0], width=size[1])
        else:
            if not Path(source).is_file():
                raise UserError(f'{source}: no such image')
            results = self.load(dict(img_path=str(source)))
        if names is not None:
            unknown = set(names) - set(self.classes)
            if unknown:
                raise UserError(f'{sorted(unknown)} are not among the classes {self.classes}')
            results['gt_img_label'] = np.array([name in names for name in self.classes], dtype=np.float32)
        return self.transform(results)
