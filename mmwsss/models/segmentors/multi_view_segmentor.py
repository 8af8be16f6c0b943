"""Segmentation at several scales and flipped: probabilities averaged over the views of an image."""
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


def mean_of_views(views: Iterable[Sequence[Tensor]]) -> list[Tensor]:
    """Averages the probabilities of N images over their views, with one view in memory at a time.

    ``log(1/V sum_v softmax(logits_v))``: the softmax of this is the mean again, so it may stand for logits.

    Args:
        views: For each of V views the logits of the N images, C x H x W each, C >= 2, of the same size in every view.

    Returns:
        N times float32 C x H x W, at most 0; -inf where every view's probability is 0 in float32.

    Raises:
        ValueError: If there is no view.
    """
    totals: list[Tensor] = []
    count = 0
    for logits in views:
        probabilities = [image.float().softmax(dim=0) for image in logits]
        if count:
            for total, values in zip(totals, probabilities, strict=True):
                total.add_(values)
        else:
            totals = probabilities
        count += 1
    if not count:
        raise ValueError('mean_of_views: there is no view')
    return [total.div_(count).log_() for total in totals]


@MODELS.register_module()
class MultiViewSegmentor(BaseTTAModel):
    """Test-time augmentation of a segmentor: the mean of the probabilities over scales and flips.

    In place of mmsegmentation's ``SegTTAModel``, with three differences: ``seg_logits`` of the result belong to the
    mean (there to the last view), so that a CRF may start from them; it needs the memory of one view, not of all; and
    the images of a batch may be of different sizes (those of one size go through the model together).

    Its test pipeline ends in mmcv's ``TestTimeAug``. Maps are loaded before it and at the image's size, so scales are
    made by :class:`~mmwsss.datasets.transforms.ScaleImage`; at least one view is not flipped, whose ground truth is the
    result's::

        tta_model = dict(type='MultiViewSegmentor')
        tta_pipeline = [
            dict(type='LoadImage'), dict(type='LoadMask'),
            dict(type='TestTimeAug', transforms=[
                [dict(type='ScaleImage', factor=factor) for factor in (0.5, 1.0, 1.5)],
                [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)],
                [dict(type='PackWSSSInputs')]])]

    Args:
        module: The segmentor, or its config.
        data_preprocessor: See :class:`mmengine.model.BaseTTAModel`.
    """

    def __init__(self, module: dict | nn.Module, data_preprocessor: dict | nn.Module | None = None) -> None:
        super().__init__(module, data_preprocessor)
        # The one that batches go through, for hooks that follow them.
        self.data_preprocessor = self.module.data_preprocessor

    def test_step(self, data: dict[str, Any]) -> list[SegDataSample]:
        """Predicts a batch.

        Args:
            data: ``inputs`` and ``data_samples``: for each view, those of the N images.

        Returns:
            N samples with ``seg_logits`` (see :func:`mean_of_views`) and ``pred_sem_seg`` (int64 1 x H x W), at the
            size of the image.

        Raises:
            UserError: If the samples come without views, all views are flipped, or the model has a single channel.
        """
        if isinstance(data['inputs'][0], Tensor):
            raise UserError('MultiViewSegmentor: the test pipeline gives one view of each image; end it in '
                            'TestTimeAug, or use the segmentor alone')
        unflipped: list[SegDataSample] = []

        def views() -> Iterator[list[Tensor]]:
            for inputs, samples in zip(data['inputs'], data['data_samples']):
                predicted = self._predict(inputs, samples)
                if not unflipped and not any(sample.get('flip') for sample in predicted):
                    unflipped.extend(predicted)
                yield [_logits(sample) for sample in predicted]

        return _with_prediction(unflipped, mean_of_views(views()))

    def merge_preds(self, data_samples_list: Sequence[Sequence[SegDataSample]]) -> list[SegDataSample]:
        """Merges predictions of views that are there already.

        Args:
            data_samples_list: For each image, the samples of its views, with ``seg_logits``.

        Returns:
            See :meth:`test_step`.
        """
        views = list(zip(*data_samples_list))
        unflipped = next((view for view in views if not any(sample.get('flip') for sample in view)), ())
        return _with_prediction(unflipped, mean_of_views([_logits(sample) for sample in view] for view in views))

    def _predict(self, inputs: Sequence[Tensor], samples: Sequence[SegDataSample]) -> list[SegDataSample]:
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(inputs):
            groups.setdefault(tuple(image.shape), []).append(index)
        predicted = list(samples)
        for indices in groups.values():
            batch = dict(inputs=[inputs[i] for i in indices], data_samples=[samples[i] for i in indices])
            for index, sample in zip(indices, self.module.test_step(batch)):
                predicted[index] = sample
        return predicted


def _logits(sample: SegDataSample) -> Tensor:
    logits = sample.seg_logits.data
    if len(logits) == 1:
        raise UserError('MultiViewSegmentor: the decode head has out_channels=1; give it one channel per class')
    return logits


def _with_prediction(samples: Sequence[SegDataSample], log_means: Sequence[Tensor]) -> list[SegDataSample]:
    if not samples:
        raise UserError('MultiViewSegmentor: every view is flipped; add one that is not, '
                        'dict(type=RandomFlip, prob=0.0)')
    for sample, log_mean in zip(samples, log_means, strict=True):
        sample.seg_logits = PixelData(data=log_mean)
        sample.pred_sem_seg = PixelData(data=log_mean.argmax(dim=0, keepdim=True))
    return list(samples)
