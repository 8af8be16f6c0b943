"""What every CAM model has in common: from class maps to predictions."""
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmengine.structures import LabelData, PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.inference import InferenceHook, compose
from mmwsss.models.heads.cam_head import classification_loss
from mmwsss.registry import CAM_PROVIDERS, INFERENCE_HOOKS, MODELS
from mmwsss.structures import CAMFunction, CAMOutput
from mmwsss.structures.maps import grid_size, max_normalize, min_max_normalize, resize_maps
from mmwsss.utils.errors import UserError

NORMALIZATIONS = {'max': max_normalize, 'min_max': min_max_normalize}


class BaseCAMModel(BaseSegmentor):
    """A model whose predictions are class activation maps.

    A subclass says how class maps come about (:meth:`forward_maps`, :meth:`pool`) and what its losses are. In
    ``predict`` mode the innermost CAM function (:meth:`compute_cam`, or the ``cam_provider``) is wrapped by the
    inference hooks, the maps of the classes that the class filter lets pass are kept, brought to the output grid and
    normalised.

    Args:
        inference_hooks: Configs of the inference hooks, outermost first.
        cam_provider: Config of a :class:`mmwsss.inference.CAMProvider` (e.g. Grad-CAM) that makes the CAM instead
            of :meth:`compute_cam`.
        test_cfg: ``class_filter``: ``'label'`` keeps the maps of the classes of the image-level label (the CAM of
            WSSS training images), ``'score'`` those whose sigmoid score is above ``score_thr`` (images
            without label); where none is, the ``top_k`` classes of the highest score (default 0). Every prediction
            says which in its metainfo ``class_filter``: ``'label'``, ``'score'`` or ``'top_k'``. The scores are those
            of the plain forward at scale 1. ``stride``: pixels of the original image per position of the
            output (default 4; 1 is full size). ``normalize``: ``'max'`` (default) divides every map by its
            maximum, ``'min_max'`` takes off its minimum first, as SEAM does. ``full_size``: whether maps are
            resized to the image and normalised there, as SEAM does, before they are brought to the grid of the
            output (default ``False``: normalised on that grid).
        train_cfg: Accepted for OpenMMLab's conventions; must be empty.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation.

    Raises:
        ValueError: For an unknown class filter, normalisation or key, or a stride below 1, in ``test_cfg``.
    """

    # What test_cfg may hold, and what it is without it; and the class filters.
    TEST_OPTIONS: ClassVar[Mapping[str, Any]] = dict(
        class_filter='label', score_thr=0.5, top_k=0, stride=4, normalize='max', full_size=False)
    FILTERS: ClassVar[tuple[str, ...]] = ('label', 'score')

    def __init__(self, inference_hooks: Sequence[dict] = (), cam_provider: dict | None = None,
                 test_cfg: dict | None = None, train_cfg: dict | None = None,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        if isinstance(data_preprocessor, dict):
            # The base class would look in MMEngine's registry only, unless a default scope is set.
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        name = type(self).__name__
        if train_cfg:
            raise ValueError(f'{name} has no training options, got train_cfg={train_cfg}')
        self.test_cfg = {**self.TEST_OPTIONS, **(test_cfg or {})}
        self.check_test_cfg(self.test_cfg)
        self.inference_hooks = [INFERENCE_HOOKS.build(hook) for hook in inference_hooks]
        for hook in self.inference_hooks:
            if isinstance(hook, InferenceHook):  # any callable of the same arguments will do
                hook.bind(self.data_preprocessor)
        self.cam_provider = CAM_PROVIDERS.build(cam_provider) if cam_provider else None

    def check_test_cfg(self, test_cfg: Mapping[str, Any]) -> None:
        """Refuses wrong settings, of the config or of a call of :meth:`predict`.

        Args:
            test_cfg: All of them.

        Raises:
            ValueError: For an unknown key, an unknown class filter or normalisation, or a stride below 1.
        """
        stride, unknown = test_cfg['stride'], set(test_cfg) - set(self.TEST_OPTIONS)
        if (unknown or test_cfg['class_filter'] not in self.FILTERS or test_cfg['normalize'] not in NORMALIZATIONS
                or not isinstance(stride, int) or stride < 1):
            raise ValueError(f'{type(self).__name__} test_cfg: {", ".join(self.TEST_OPTIONS)}, with class_filter one '
                             f'of {self.FILTERS}, stride at least 1, normalize one of {tuple(NORMALIZATIONS)}; got '
                             f'{dict(test_cfg)}')

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of foreground classes C."""

    @abstractmethod
    def forward_maps(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Computes class maps and features.

        Args:
            inputs: N x 3 x H x W normalised images.

        Returns:
            The class maps N x C x h x w, not rectified; and the feature maps, from the first stage to the last.
        """

    @abstractmethod
    def pool(self, maps: Tensor) -> Tensor:
        """Turns class maps N x C x h x w, not rectified, into scores N x C before the sigmoid."""

    def loss_by_maps(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Computes the classification loss of class maps N x C x h x w, not rectified; labels are N x C multi-hot."""
        return classification_loss(self.pool(maps), labels)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the feature maps."""
        return self.forward_maps(inputs)[1]

    def compute_cam(self, inputs: Tensor, labels: Tensor | None = None) -> CAMOutput:
        """The model's own CAM function, inside of all hooks.

        Args:
            inputs: N x 3 x H x W normalised images.
            labels: Not used: the maps of all classes are returned.

        Returns:
            The rectified class maps at the resolution of the features, the scores, the features as ``'0'``, ``'1'``,
            ... in their order, and the attention of a transformer that gives it.
        """
        maps, feats = self.forward_maps(inputs)
        return CAMOutput(cam=F.relu(maps).float(), logits=self.pool(maps), feats=name_feats(feats),
                         attentions=getattr(feats, 'attentions', None))

    @property
    def cam_function(self) -> CAMFunction:
        """The innermost CAM function: the provider's where there is one."""
        if self.cam_provider is None:
            return self.compute_cam
        return lambda inputs, labels: self.cam_provider(self, inputs, labels)

    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None,
                **options: Any) -> list[SegDataSample]:
        """Makes CAMs.

        Args:
            inputs: N x 3 x H x W normalised images.
            data_samples: Their data samples; ``None`` for images without label, which needs the class filter
                ``'score'``.
            options: Settings in place of those of ``test_cfg``, for this call.

        Returns:
            The data samples with ``pred_cam`` (PixelData, ``data`` float16 K x h x w in [0, 1] with
            h = ceil(H / stride) of the original image), ``pred_img_label`` (LabelData, ``label`` int64 [K]
            the classes of these maps, ``score`` float32 [C] in [0, 1], see :meth:`scores_of`: those that chose the
            classes, and with labels those of the hooks) and metainfo ``class_filter``.

        Raises:
            ValueError: If an option is wrong, see :meth:`check_test_cfg`, or the images are padded.
            UserError: If the class filter is ``'label'`` and an image has no label.
        """
        if data_samples is None:
            shape = tuple(inputs.shape[-2:])
            data_samples = [SegDataSample(metainfo=dict(ori_shape=shape)) for _ in inputs]
        if any(any(sample.get('img_padding_size', ())) for sample in data_samples):
            raise ValueError(f'{type(self).__name__} predicts on images as they are: remove the test padding '
                             '(test_cfg) from the data preprocessor')
        options = {**self.test_cfg, **options}
        self.check_test_cfg(options)
        output, labels, filters = self._filtered_cam(inputs, data_samples, options)
        scores = self.scores_of(output.logits)
        normalize = NORMALIZATIONS[options['normalize']]
        for i, sample in enumerate(data_samples):
            classes = labels[i].nonzero().flatten()
            size = grid_size(sample.ori_shape[:2], options['stride'])
            cam = output.cam[i:i + 1, classes]
            if options['full_size']:
                cam = resize_maps(normalize(resize_maps(cam, sample.ori_shape[:2])), size)[0]
            else:
                cam = normalize(resize_maps(cam, size))[0]
            # Rounded here and not when a file is written, so that evaluating predictions and evaluating
            # files give the same numbers.
            sample.pred_cam = PixelData(data=cam.half())
            sample.pred_img_label = LabelData(label=classes, score=scores[i])
            sample.set_metainfo(dict(class_filter=filters[i]))
        return data_samples

    def scores_of(self, logits: Tensor) -> Tensor:
        """Turns logits N x C into scores in [0, 1]: their sigmoid."""
        return logits.float().sigmoid()

    def _filtered_cam(self, inputs: Tensor, data_samples: list[SegDataSample],
                   options: dict) -> tuple[CAMOutput, Tensor, list[str]]:
        """Returns the CAM of all classes, the N x C mask of the classes to keep, and what chose them."""
        if options['class_filter'] == 'label':
            labels, filters = stack_labels(data_samples).to(inputs.device), ['label'] * len(inputs)
            return compose(self.cam_function, self.inference_hooks)(inputs, labels), labels, filters
        plain = self.compute_cam(inputs)
        labels, filters = classes_by_score(self.scores_of(plain.logits), options['score_thr'], options['top_k'])
        if not self.inference_hooks and self.cam_provider is None:
            return plain, labels, filters
        output = compose(self.cam_function, self.inference_hooks)(inputs, labels)
        return replace(output, logits=plain.logits), labels, filters

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Returns the class maps N x C x h x w before the rectifier."""
        return self.forward_maps(inputs)[0]

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict] | None = None) -> Tensor:
        """Returns the class maps N x C x H x W before the rectifier, at the size of the input."""
        return resize_maps(self._forward(inputs), inputs.shape[-2:])


def classes_by_score(scores: Tensor, score_thr: float, top_k: int = 0) -> tuple[Tensor, list[str]]:
    """Chooses the classes of images without labels.

    Args:
        scores: N x C.
        score_thr: Classes with a higher score are kept.
        top_k: Where there is none, these many classes of the highest score are.

    Returns:
        N x C, 1 for what is kept; and for each image ``'score'``, or ``'top_k'`` where no score was high enough.
    """
    labels = (scores > score_thr).float()
    filters = ['score'] * len(scores)
    if top_k:
        for i in (labels.sum(dim=1) == 0).nonzero().flatten().tolist():
            labels[i, scores[i].topk(min(top_k, scores.shape[1])).indices] = 1
            filters[i] = 'top_k'
    return labels, filters


def name_feats(feats: Sequence[Tensor]) -> dict[str, Tensor]:
    """Names feature maps ``'0'``, ``'1'``, ... as CAMOutput has them."""
    return {str(i): feat for i, feat in enumerate(feats)}


def stack_labels(data_samples: Sequence[SegDataSample]) -> Tensor:
    """Stacks the image-level labels of a batch.

    Args:
        data_samples: Data samples with ``gt_img_label.label``, float32 [C] multi-hot.

    Returns:
        N x C multi-hot.

    Raises:
        UserError: If an image has no label.
    """
    for sample in data_samples:
        if 'gt_img_label' not in sample:
            raise UserError(f'{sample.get("img_path", "an image")}: has no image-level label; label it, or choose '
                            "by predicted scores: --cfg-options model.test_cfg.class_filter=score")
    return torch.stack([sample.gt_img_label.label for sample in data_samples])
