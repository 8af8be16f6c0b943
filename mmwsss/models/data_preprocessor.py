"""Batching of samples that carry more maps than mmseg knows."""
from typing import Any

import torch.nn.functional as F
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

MAPS = ('gt_sem_seg', 'gt_edge_map', 'gt_depth_map', 'gt_saliency')


@MODELS.register_module()
class WSSSDataPreProcessor(SegDataPreProcessor):
    """mmseg's preprocessor, which also pads ``gt_saliency`` to the size of the batch in training.

    An image with a ``canvas_offset`` (:class:`mmwsss.datasets.transforms.RandomPlaceCrop`) is put there, with its maps;
    others are at the top left.

    Args:
        size: Size (h, w) of every training batch.
        size_divisor: Instead of ``size``: the largest image of the batch, rounded up to a multiple of it. With
            neither, images are padded to the largest one of the batch.
        saliency_pad_val: Saliency of padded pixels; -1: none, 0: not salient.
        **kwargs: See :class:`mmseg.models.SegDataPreProcessor`.
    """

    def __init__(self, size: tuple[int, int] | None = None, size_divisor: int | None = None,
                 saliency_pad_val: float = -1.0, **kwargs: Any) -> None:
        if size is None and size_divisor is None:
            size_divisor = 1  # mmseg's batching insists on one of the two
        super().__init__(size=size, size_divisor=size_divisor, **kwargs)
        self.saliency_pad_val = saliency_pad_val

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Normalises, pads and stacks.

        Args:
            data: ``inputs``: list of N tensors [3, h, w]; ``data_samples``: N data samples.
            training: Whether sizes may differ and are padded.

        Returns:
            ``inputs``: float [N, 3, H, W]; ``data_samples``: the samples with maps of H x W and, in training, the
            meta information ``img_shape`` (before padding), ``pad_shape`` and ``padding_size`` (left, right, top,
            bottom).

        Raises:
            UserError: If an image does not fit the batch at its ``canvas_offset``.
        """
        data = super().forward(data, training)
        if not training:
            return data
        for image, sample in zip(data['inputs'], data['data_samples']):
            # mmseg leaves None there for a sample without a map that it knows.
            sample.set_metainfo({'pad_shape': tuple(data['inputs'].shape[-2:])})
            if 'gt_saliency' in sample:
                saliency = sample.gt_saliency.data
                del sample.gt_saliency.data  # PixelData takes no map of another size while it has one
                sample.gt_saliency.data = F.pad(saliency, sample.padding_size, value=self.saliency_pad_val)
            if any(sample.get('canvas_offset', ())):
                _place(image, sample)
        return data


def _place(image: Tensor, sample: SegDataSample) -> None:
    # All padding is at the right and at the bottom: turned round by the offset, it is on all sides.
    top, left = sample.canvas_offset
    _, right, _, bottom = sample.padding_size
    if top > bottom or left > right:
        raise UserError(f'data_preprocessor: the batch is {image.shape[-2]} x {image.shape[-1]} (height x width), '
                        'which is smaller than the crop of RandomPlaceCrop; give both one size, and put that transform '
                        'after what resizes')
    image.copy_(image.roll((top, left), dims=(-2, -1)))
    for name in MAPS:
        if name in sample:
            sample.get(name).data = sample.get(name).data.roll((top, left), dims=(-2, -1))
    sample.set_metainfo({'padding_size': (left, right - left, top, bottom - top)})
