"""The regional contrastive module (RCM)."""
import torch
from torch import Tensor, nn

from mmwsss.models.losses.regional_contrast_loss import (
    NORMALIZATIONS,
    class_prototypes,
    class_region_masks,
    region_cross_entropy,
    regional_contrast,
    without_incomplete,
)
from mmwsss.registry import MODELS

MODES = ('contrast', 'direct')


@MODELS.register_module()
class RCM(nn.Module):
    """Regional contrastive module: SupportNet's CAMs tell MainNet's features which class each pixel is.

    "Exploring Pixel-level Self-supervision for Weakly Supervised Semantic Segmentation", section 3.2. Everything that
    comes from SupportNet is detached. The prototypes are those of the whole batch, on all ranks; a class without a
    pixel in it keeps its latest (section 4.2), in the buffers ``prototypes`` (C + 1) x D and ``seen`` bool (C + 1). A
    class that never had a pixel takes no part.

    Args:
        num_classes: C, foreground classes.
        feat_channels: D.
        threshold: What the CAM of a class must exceed to have a pixel, in [0, 1).
        temperature: T of eq. 5.
        log: Whether eq. 5 has a logarithm; it is printed without.
        pixel_weighted: Whether a prototype is the mean over pixels instead of over images, see
            :func:`mmwsss.models.losses.class_prototypes`.
        normalize: ``'count'``, ``'balanced'``, ``'class_sum'`` or ``'none'``, see
            :func:`mmwsss.models.losses.regional_contrast`.
        mode: ``'contrast'``, or ``'direct'`` for the ablation of Table 2: MainNet's CAM is pulled to the regions by
            :func:`mmwsss.models.losses.region_cross_entropy`, without prototypes.
        skip_incomplete: Whether images in which some class of the label has no pixel are left out, see
            :func:`mmwsss.models.losses.without_incomplete`. The paper does not.

    Raises:
        ValueError: If an argument is out of range or not one of the above.
    """

    def __init__(self, num_classes: int, feat_channels: int = 256, threshold: float = 0.2, temperature: float = 0.5,
                 log: bool = True, pixel_weighted: bool = False, normalize: str = 'count',
                 mode: str = 'contrast', skip_incomplete: bool = False) -> None:
        super().__init__()
        if not 0 <= threshold < 1:
            raise ValueError(f'RCM: threshold is in [0, 1), got {threshold}')
        if temperature <= 0:
            raise ValueError(f'RCM: temperature is above 0, got {temperature}')
        if normalize not in NORMALIZATIONS:
            raise ValueError(f'RCM: normalize is one of {", ".join(NORMALIZATIONS)}, got {normalize!r}')
        if mode not in MODES:
            raise ValueError(f'RCM: mode is one of {", ".join(MODES)}, got {mode!r}')
        self.threshold = threshold
        self.temperature = temperature
        self.log = log
        self.pixel_weighted = pixel_weighted
        self.normalize = normalize
        self.mode = mode
        self.skip_incomplete = skip_incomplete
        self.register_buffer('prototypes', torch.zeros(num_classes + 1, feat_channels))
        self.register_buffer('seen', torch.zeros(num_classes + 1, dtype=torch.bool))

    def forward(self, features: Tensor, main_cam: Tensor | None, support_features: Tensor, support_cam: Tensor,
                labels: Tensor) -> Tensor:
        """Computes the loss; in contrast mode also updates the bank of prototypes.

        Args:
            features: N x D x h x w, MainNet's at ratio 1; not used in direct mode.
            main_cam: N x C x h x w in [0, 1], MainNet's normalised CAM at ratio 1; used in direct mode only.
            support_features: N x D x h x w, SupportNet's at ratio 1; not used in direct mode.
            support_cam: N x C x h x w in [0, 1], SupportNet's multi-scale CAM
                (:func:`mmwsss.models.losses.multi_scale_cam`).
            labels: N x C, multi-hot.

        Returns:
            A scalar, float32 whatever the precision of the inputs.

        Raises:
            ValueError: If ``main_cam`` is missing in direct mode.
        """
        masks = class_region_masks(support_cam, labels, self.threshold)
        if self.skip_incomplete:
            masks = without_incomplete(masks, labels)
        if self.mode == 'direct':
            if main_cam is None:
                raise ValueError("RCM: mode 'direct' needs main_cam, got None")
            return region_cross_entropy(main_cam, masks, labels, self.temperature, self.normalize)
        self.update_prototypes(support_features, masks)
        return regional_contrast(features, self.prototypes, masks, self.temperature, self.log, self.normalize,
                                 valid=self.seen)

    @torch.no_grad()
    def update_prototypes(self, support_features: Tensor, masks: Tensor) -> None:
        """Replaces the prototypes of the classes that the batch has, on any rank.

        Args:
            support_features: N x D x h x w.
            masks: bool N x (C + 1) x h x w.
        """
        prototypes, present = class_prototypes(support_features, masks, self.pixel_weighted)
        self.prototypes.copy_(prototypes.where(present[:, None], self.prototypes))
        self.seen.logical_or_(present)
