"""The multi-scale attentive module (MAM)."""
from collections.abc import Sequence

from torch import Tensor, nn

from mmwsss.models.losses.multi_scale_attention_loss import MODES, REDUCTIONS, multi_scale_attention
from mmwsss.registry import MODELS


@MODELS.register_module()
class MAM(nn.Module):
    """Multi-scale attentive module: MainNet's CAM of each scale learns most from the scales that differ most.

    "Exploring Pixel-level Self-supervision for Weakly Supervised Semantic Segmentation", section 3.3; the loss is
    :func:`mmwsss.models.losses.multi_scale_attention`.

    Args:
        mode: ``'mam'``, or one of the ablations of Table 1: ``'mmm'`` (every scale is pulled to the mean over
            SupportNet's scales), ``'smm'`` (only ratio 1 is).
        reduction: ``'mean'`` or ``'sum'`` over the pixels.
        reference_index: Place of ratio 1 among the scales; the default is that of (0.5, 1, 2).
        skip_empty: Whether classes of an image for which SupportNet has no CAM are left out; the paper pulls MainNet's
            to zero there.
        renormalize: Whether targets are divided by their maximum again. By eq. 7 they are not, and neither are those of
            the ablations, so that these are MAM without attention.
        detach_attention: ``True``: the attention only makes targets. ``False``: gradient flows through it (eq. 6).

    Raises:
        ValueError: If ``mode`` or ``reduction`` is unknown.
    """

    def __init__(self, mode: str = 'mam', reduction: str = 'mean', reference_index: int = 1,
                 skip_empty: bool = False, renormalize: bool = False, detach_attention: bool = True) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f'MAM: mode is one of {", ".join(MODES)}, got {mode!r}')
        if reduction not in REDUCTIONS:
            raise ValueError(f'MAM: reduction is one of {", ".join(REDUCTIONS)}, got {reduction!r}')
        self.mode = mode
        self.reduction = reduction
        self.reference_index = reference_index
        self.skip_empty = skip_empty
        self.renormalize = renormalize
        self.detach_attention = detach_attention

    def forward(self, main_cams: Sequence[Tensor], support_cams: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            main_cams: S tensors N x C x h x w in [0, 1] of one size, MainNet's; gradient flows into these alone.
            support_cams: The same of SupportNet, in the same order of scales.
            labels: N x C, multi-hot.

        Returns:
            A scalar, float32 whatever the precision of the inputs.

        Raises:
            ValueError: If the numbers of scales differ, or ``reference_index`` is not one of them.
        """
        if len(main_cams) != len(support_cams) or not 0 <= self.reference_index < len(main_cams):
            raise ValueError(f'MAM: expects as many CAMs of MainNet as of SupportNet and reference_index '
                             f'{self.reference_index} among them, got {len(main_cams)} and {len(support_cams)}')
        return multi_scale_attention(main_cams, support_cams, labels, self.mode, self.reduction,
                                     self.reference_index, self.skip_empty, self.renormalize, self.detach_attention)
