"""A segmentor whose losses see saliency maps."""
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from mmwsss.models.losses import SaliencyConflictLoss
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


@MODELS.register_module()
class SaliencyEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` with :class:`~mmwsss.models.SaliencyConflictLoss` as loss of its heads.

    In training, ``gt_saliency`` of the data samples is passed on to every such loss in the decode head and the
    auxiliary heads. Beside the losses, each logs ``tau`` and ``saliency_ce`` under the name of its head. Prediction
    is that of ``EncoderDecoder`` and needs no saliency.

    Args:
        *args: See :class:`mmseg.models.EncoderDecoder`.
        **kwargs: Likewise.

    Raises:
        ValueError: If no head has such a loss.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self._saliency_losses():
            raise ValueError('SaliencyEncoderDecoder: no head has a SaliencyConflictLoss as loss_decode; name it '
                             'there, or take EncoderDecoder')

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of all heads.

        Args:
            inputs: N x 3 x H x W, normalised.
            data_samples: N samples with ``gt_sem_seg`` and ``gt_saliency`` of 1 x H x W.

        Returns:
            Losses and what else is logged, by head: ``decode.*``, and ``aux.*`` or ``aux_0.*``, ...

        Raises:
            UserError: If a sample has no saliency, or one of another size than its label.
        """
        saliency = stack_saliency(data_samples)
        with ExitStack() as stack:
            logs = [(head, stack.enter_context(loss.using(saliency))) for head, loss in self._saliency_losses()]
            losses = super().loss(inputs, data_samples)
        for head, log in logs:
            losses.update(add_prefix(log, head))
        return losses

    def _saliency_losses(self) -> list[tuple[str, SaliencyConflictLoss]]:
        # With the names that EncoderDecoder gives to the heads in its logs.
        heads = {'decode': self.decode_head}
        if self.with_auxiliary_head:
            auxiliary = self.auxiliary_head
            heads.update({f'aux_{i}': head for i, head in enumerate(auxiliary)}
                         if isinstance(auxiliary, nn.ModuleList) else {'aux': auxiliary})
        return [(name, module) for name, head in heads.items() for module in head.modules()
                if isinstance(module, SaliencyConflictLoss)]


def stack_saliency(data_samples: Sequence[SegDataSample]) -> Tensor:
    """Stacks the saliency maps of a batch.

    Args:
        data_samples: N samples with ``gt_saliency`` of the size of ``gt_sem_seg``, 1 x H x W.

    Returns:
        N x H x W, in [0, 1].

    Raises:
        UserError: If one is missing or of another size; the message names the image.
    """
    maps = []
    for i, sample in enumerate(data_samples):
        name = sample.metainfo.get('img_path', f'image {i} of the batch')
        if 'gt_saliency' not in sample:
            raise UserError(f'{name}: comes without saliency; put LoadSaliency after LoadMask in the training '
                            'pipeline, and PackWSSSInputs at its end')
        saliency, label = sample.gt_saliency.data, sample.gt_sem_seg.data
        if saliency.shape != label.shape:
            raise UserError(f'{name}: its saliency is {list(saliency.shape)}, but its label {list(label.shape)}; take '
                            'WSSSDataPreProcessor, which pads both, and LoadSaliency before any other transform')
        maps.append(saliency[0])
    return torch.stack(maps)
