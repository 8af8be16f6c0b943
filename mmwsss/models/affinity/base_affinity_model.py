"""What AffinityNet and IRNet have in common: CAMs that walk to pixels of high affinity, and become labels."""
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import LabelData, PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.models.affinity.pixel_pairs import BORDERS
from mmwsss.registry import MODELS, TASK_UTILS
from mmwsss.structures.maps import grid_size, max_normalize, resize_maps
from mmwsss.utils.errors import UserError

TINY = torch.finfo(torch.float32).tiny


def share_of_two(scores: Tensor) -> Tensor:
    """The share of a class beside the background: ``s_k / (s_0 + s_k)``, 0 where both are 0.

    At the threshold 0.5 the labels are those of the scores; another threshold t weighs the background by t / (1 - t).

    Args:
        scores: (K + 1) x h x w, not negative, background first.

    Returns:
        K x h x w in [0, 1].
    """
    return scores[1:] / (scores[:1] + scores[1:]).clamp(min=TINY)


# From scores (K + 1) x h x w, background first, to maps K x h x w in [0, 1]: 'map' divides every map by its maximum,
# 'image' all of them by the largest, 'background' is share_of_two.
NORMALIZATIONS = {
    'map': lambda scores: max_normalize(scores[1:], eps=TINY),
    'image': lambda scores: scores[1:] / scores[1:].amax().clamp(min=TINY) if len(scores) > 1 else scores[1:],
    'background': share_of_two,
}


class BaseAffinityModel(BaseSegmentor):
    """A model of the affinities of near pixels, along which CAMs are spread by a random walk.

    It is trained with label maps (``gt_sem_seg``: 0 background, k + 1 for class k, 255 ignore). In ``predict`` mode the
    data samples carry the CAM of their image, which becomes a label map. Class names or numbers do not occur in it: a
    model serves any class list.

    A subclass says how scores come about (:meth:`refine`), how labels of the image become labels of the grid
    (:meth:`reduce_labels`) and what its losses are.

    Args:
        random_walk: Config of the walk, in TASK_UTILS, with a radius and a border of its own.
        radius: Pixels closer than it, in positions of the grid, make pairs in training.
        border: Which of these pairs count in training: ``'all'`` inside of the image, or ``'crop'``, those of the
            released code, see :func:`mmwsss.models.affinity.pair_mask`.
        grid_stride: Pixels of the image per position of the grid on which affinities are defined.
        test_cfg: See the subclass. ``stride`` is that of the maps in the predictions: pixels of the original image per
            position (default 4). ``normalize``: how the walked maps come to [0, 1], see :data:`NORMALIZATIONS`.
        train_cfg: Accepted for OpenMMLab's conventions; must be empty.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation.

    Raises:
        ValueError: For an unknown key in ``test_cfg``, or a value that is none of those listed.
    """

    class_agnostic = True  # checkpoints load whatever classes they were trained with
    test_defaults: Mapping[str, Any] = dict(stride=4, normalize='map')

    def __init__(self, random_walk: dict, radius: int, border: str, grid_stride: int, test_cfg: dict | None = None,
                 train_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        if isinstance(data_preprocessor, dict):
            # The base class would look in MMEngine's registry only, unless a default scope is set.
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        name = type(self).__name__
        if train_cfg:
            raise ValueError(f'{name} has no training options, got train_cfg={train_cfg}')
        self.test_cfg = {**self.test_defaults, **(test_cfg or {})}
        if unknown := self.test_cfg.keys() - self.test_defaults.keys():
            raise ValueError(f'{name} test_cfg: takes {", ".join(self.test_defaults)}, not {", ".join(unknown)}')
        for key, value, least in (('grid_stride', grid_stride, 1), ('test_cfg.stride', self.test_cfg['stride'], 1),
                                  ('radius', radius, 2)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f'{name}: {key} must be a whole number of at least {least}, got {value!r}')
        if self.test_cfg['normalize'] not in NORMALIZATIONS:
            raise ValueError(f'{name}: test_cfg.normalize must be one of {tuple(NORMALIZATIONS)}, got '
                             f'{self.test_cfg["normalize"]!r}')
        if border not in BORDERS:
            raise ValueError(f'{name}: border must be one of {BORDERS}, got {border!r}')
        self.radius = radius
        self.border = border
        self.grid_stride = grid_stride
        self.random_walk = TASK_UTILS.build(random_walk)

    @abstractmethod
    def refine(self, inputs: Tensor, cams: Tensor) -> Tensor:
        """Spreads CAMs over pixels of high affinity.

        Args:
            inputs: N x 3 x H x W normalised images.
            cams: N x K x h x w CAMs in [0, 1] at any stride, K at least 1; a map that is zero stays zero.

        Returns:
            N x (K + 1) x H x W scores, background first.
        """

    @staticmethod
    @abstractmethod
    def reduce_labels(labels: Tensor, stride: int) -> Tensor:
        """Reduces label maps N x H x W to the grid, N x ceil(H / stride) x ceil(W / stride)."""

    def grid_labels(self, data_samples: Sequence[SegDataSample], inputs: Tensor) -> Tensor:
        """Stacks the label maps of a batch at the grid.

        Args:
            data_samples: Data samples with ``gt_sem_seg``, [1, h, w] at the size of the batch's images, or already at
                the grid.
            inputs: The images, N x 3 x H x W.

        Returns:
            N x ceil(H / grid_stride) x ceil(W / grid_stride).

        Raises:
            UserError: If an image has no label map, or one of another size.
        """
        for sample in data_samples:
            if 'gt_sem_seg' not in sample:
                raise UserError(f'{sample.get("img_path", "an image")}: has no label map; {type(self).__name__} is '
                                'trained with label maps of confident pixels')
        labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples]).to(inputs.device)
        size, grid = tuple(inputs.shape[-2:]), grid_size(inputs.shape[-2:], self.grid_stride)
        if labels.shape[-2:] == grid:
            return labels
        if labels.shape[-2:] != size:
            raise UserError(f'{data_samples[0].get("img_path", "an image")}: its label map is '
                            f'{tuple(labels.shape[-2:])} in a batch of {size}; it must be of this size, or {grid}, '
                            f'the grid of {type(self).__name__}')
        return self.reduce_labels(labels, self.grid_stride)

    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Turns the CAMs of images into label maps.

        Args:
            inputs: N x 3 x H x W normalised images.
            data_samples: Their data samples, with ``gt_cam`` (PixelData, ``data`` float K x h x w in [0, 1]) and
                ``gt_cam_classes`` (LabelData, ``label`` int64 [K]).

        Returns:
            The data samples with ``pred_sem_seg`` (PixelData, ``data`` int64 1 x H x W of the original image, 0 for
            background, k + 1 for class k), and with the walked CAM in the format of
            :meth:`mmwsss.models.classifiers.BaseCAMModel.predict`: ``pred_cam`` (PixelData, ``data`` float16 K x h x w,
            normalised as ``test_cfg.normalize`` says), ``pred_img_label`` (LabelData, ``label`` int64 [K]) and the
            metainfo ``class_filter``, that of ``gt_cam`` where the sample says it, else ``None``.

        Raises:
            UserError: If an image has no CAM.
        """
        for sample in data_samples or [SegDataSample()]:
            if 'gt_cam' not in sample or 'gt_cam_classes' not in sample:
                raise UserError(f'{sample.get("img_path", "an image")}: has no CAM, which {type(self).__name__} would '
                                'make a label of; load its CAM file in the test pipeline')
            if any(sample.get('img_padding_size', ())):
                raise ValueError(f'{type(self).__name__} predicts on images as they are: remove the test padding '
                                 '(test_cfg) from the data preprocessor')
        cams = [sample.gt_cam.data.to(inputs.device).float() for sample in data_samples]
        scores = self.refine(inputs, _stack(cams))
        for sample, score, cam in zip(data_samples, scores, cams):
            self._add_predictions(sample, score[None, :len(cam) + 1])
        return data_samples

    def _add_predictions(self, sample: SegDataSample, scores: Tensor) -> None:
        size = tuple(sample.ori_shape[:2])
        classes = sample.gt_cam_classes.label.to(scores.device)
        names = torch.cat([classes.new_zeros(1), classes + 1])
        sample.pred_sem_seg = PixelData(data=names[resize_maps(scores, size).argmax(dim=1)])
        coarse = resize_maps(scores, grid_size(size, self.test_cfg['stride']))[0]
        # However little a map has left after the walk, it is brought to [0, 1] before it is rounded.
        sample.pred_cam = PixelData(data=NORMALIZATIONS[self.test_cfg['normalize']](coarse).half())
        sample.pred_img_label = LabelData(label=classes)
        sample.set_metainfo(dict(class_filter=sample.get('class_filter')))


def _stack(cams: Sequence[Tensor]) -> Tensor:
    """Stacks the maps of images with different numbers of classes; the rest is zero."""
    stacked = cams[0].new_zeros(len(cams), max(1, *(len(cam) for cam in cams)), *cams[0].shape[1:])
    for row, cam in zip(stacked, cams):
        row[:len(cam)] = cam
    return stacked
