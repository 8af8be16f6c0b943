"""Batching of samples that carry more maps than mmseg knows."""
from typing import Any

import torch.nn.functional as F
from mmseg.models import SegDataPreProcessor

from mmwsss.registry import MODELS


@MODELS.register_module()
class WSSSDataPreProcessor(SegDataPreProcessor):
    """mmseg's preprocessor, which also pads ``gt_saliency`` to the size of the batch in training.

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
            training: Whether sizes may differ and are padded, on the right and at the bottom.

        Returns:
            ``inputs``: float [N, 3, H, W]; ``data_samples``: the samples with maps of H x W and, in training, the
            meta information ``img_shape`` (before padding), ``pad_shape`` and ``padding_size``.
        """
        data = super().forward(data, training)
        if not training:
            return data
        for sample in data['data_samples']:
            # mmseg leaves None there for a sample without a map that it knows.
            sample.set_metainfo({'pad_shape': tuple(data['inputs'].shape[-2:])})
            if 'gt_saliency' in sample:
                saliency = sample.gt_saliency.data
                del sample.gt_saliency.data  # PixelData takes no map of another size while it has one
                sample.gt_saliency.data = F.pad(saliency, sample.padding_size, value=self.saliency_pad_val)
        return data
