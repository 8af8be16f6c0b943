"""A classifier of images that show one class, for weakly supervised object localization."""
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.inference.base import compose
from mmwsss.inference.ten_crop import ten_crops, whole_image
from mmwsss.models.classifiers.base_cam_model import BaseCAMModel, classes_by_score, name_feats, stack_labels
from mmwsss.models.classifiers.cam_classifier import CAMClassifier
from mmwsss.registry import MODELS
from mmwsss.structures import CAMOutput

RECTIFIERS = ('relu', 'min')


@MODELS.register_module()
class LocalizationClassifier(CAMClassifier):
    """Backbone, neck and CAM head for images of a single class, with softmax scores.

    Args:
        test_cfg: As in :class:`mmwsss.models.BaseCAMModel`, and: ``class_filter`` may be ``'top_k'``, which keeps the
            maps of the ``top_k`` classes (default 5) with the highest scores, and needs no labels. ``crop_size``: side
            of the square that the whole image is resized to for the map (default: the image as it comes).
            ``ten_crop``: the scores are the mean of the softmax over ten crops of ``crop_size`` (the corners, the
            centre and their mirror images), as in SSA, section 4.1; otherwise they come with the map. ``rectify``: how
            a class map becomes non-negative, ``'relu'`` or ``'min'``, by taking off its minimum: the CAM of
            localization has no rectifier, and is brought to [0, 1] by its minimum and maximum.
        **kwargs: See :class:`mmwsss.models.CAMClassifier`.

    Raises:
        ValueError: For an unknown option in ``test_cfg``, or ten crops without a size.
    """

    TEST_OPTIONS: ClassVar[Mapping[str, Any]] = dict(
        BaseCAMModel.TEST_OPTIONS, top_k=5, crop_size=None, ten_crop=False, rectify='relu')
    FILTERS: ClassVar[tuple[str, ...]] = (*BaseCAMModel.FILTERS, 'top_k')

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        # Read by LossWeightScheduleHook: SPA's loss starts later than the training.
        self.loss_weights = dict(restricted=1.0)

    def check_test_cfg(self, test_cfg: Mapping[str, Any]) -> None:
        """See :meth:`mmwsss.models.BaseCAMModel.check_test_cfg`.

        Raises:
            ValueError: Also for ten crops without a size, or a ``rectify`` other than the config's, by which the CAM
                function inside of all hooks is made.
        """
        super().check_test_cfg(test_cfg)
        least = int(test_cfg['class_filter'] == 'top_k')
        if test_cfg['rectify'] not in RECTIFIERS or not isinstance(test_cfg['top_k'], int) or (
                test_cfg['top_k'] < least) or (test_cfg['ten_crop'] and not test_cfg['crop_size']):
            raise ValueError(f'LocalizationClassifier test_cfg: rectify one of {RECTIFIERS}, top_k at least 1 for '
                             f"class_filter='top_k', crop_size for ten_crop; got {dict(test_cfg)}")
        if test_cfg['rectify'] != self.test_cfg['rectify']:
            raise ValueError('LocalizationClassifier: rectify is of the config, not of a call; set test_cfg.rectify')

    def compute_cam(self, inputs: Tensor, labels: Tensor | None = None) -> CAMOutput:
        """See :meth:`mmwsss.models.BaseCAMModel.compute_cam`."""
        if self.test_cfg['rectify'] == 'relu':
            return super().compute_cam(inputs, labels)
        maps, feats = self.forward_maps(inputs)
        maps = maps.float()
        return CAMOutput(maps - maps.amin(dim=(2, 3), keepdim=True), self.pool(maps), name_feats(feats),
                         attentions=getattr(feats, 'attentions', None))

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of the head, ``loss_restricted`` times ``loss_weights['restricted']``."""
        losses = super().loss(inputs, data_samples)
        if 'loss_restricted' in losses:
            losses['loss_restricted'] = losses['loss_restricted'] * self.loss_weights['restricted']
        return losses

    def scores_of(self, logits: Tensor) -> Tensor:
        """Returns the softmax of logits N x C."""
        return logits.float().softmax(dim=1)

    def _filtered_cam(self, inputs: Tensor, data_samples: list[SegDataSample],
                   options: dict) -> tuple[CAMOutput, Tensor, list[str]]:
        class_filter = options['class_filter']
        image = whole_image(inputs, options['crop_size']) if options['crop_size'] else inputs
        logits = self.ten_crop_logits(inputs, options['crop_size']) if options['ten_crop'] else None
        filters = [class_filter] * len(inputs)
        if class_filter == 'label':
            labels = stack_labels(data_samples).to(inputs.device)
        else:
            if logits is None:
                logits = self.compute_cam(image).logits
            # No score is above 1, so that the class filter 'top_k' goes by rank alone.
            score_thr = 1 if class_filter == 'top_k' else options['score_thr']
            labels, filters = classes_by_score(self.scores_of(logits), score_thr, options['top_k'])
        output = compose(self.cam_function, self.inference_hooks)(image, labels)
        return output if logits is None else replace(output, logits=logits), labels, filters

    def ten_crop_logits(self, inputs: Tensor, size: int) -> Tensor:
        """Returns logits N x C whose softmax is the mean of the softmax of ten crops of ``size`` pixels."""
        crops = ten_crops(inputs, size)
        # One after the other: the batch stays as small as it is.
        probabilities = [F.softmax(self.pool(self.forward_maps(crop)[0]).float(), dim=1) for crop in crops]
        return torch.stack(probabilities).mean(dim=0).clamp(min=torch.finfo(torch.float32).tiny).log()
