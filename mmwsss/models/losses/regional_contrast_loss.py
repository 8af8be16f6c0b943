"""Class regions, class-wise prototypes and the losses of the regional contrastive module (RCM)."""
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

from mmwsss.models.losses.ecr_loss import with_background
from mmwsss.models.losses.global_mean import global_mean
from mmwsss.utils.autocast import at_least_float32, no_autocast

# The least length of a feature vector: also bounds the gradient at pixels without features.
EPS = 1e-5
NORMALIZATIONS = ('count', 'balanced', 'class_sum', 'none')


def class_region_masks(cam: Tensor, labels: Tensor, threshold: float = 0.2) -> Tensor:
    """Gives every pixel to one class or to the background (eq. 1 and 2).

    ``M^k_p = 1`` if k is the argmax of ``cam_p`` over the classes of the image and ``cam^k_p > threshold``; the
    background ``M^0_p = 1`` if no class has the pixel.

    Args:
        cam: N x C x h x w in [0, 1], SupportNet's multi-scale CAM.
        labels: N x C, multi-hot.
        threshold: What a class must exceed to have a pixel.

    Returns:
        bool N x (C + 1) x h x w, background first; exactly one is set at each pixel. Of equal classes the first has it.
    """
    absent = ~labels.bool()[:, :, None, None]
    score, index = cam.detach().masked_fill(absent, -torch.inf).max(dim=1)
    region = (index + 1).where(score > threshold, 0)
    return region[:, None] == torch.arange(cam.shape[1] + 1, device=cam.device)[:, None, None]


def without_incomplete(masks: Tensor, labels: Tensor) -> Tensor:
    """Takes the masks away from images in which some class of the label has no pixel.

    Not in the paper. Where the CAM of a class is empty, its pixels count as background or as another class, which keeps
    it empty: classes with few images can vanish that way while a training is young.

    Args:
        masks: bool N x (C + 1) x h x w from :func:`class_region_masks`.
        labels: N x C, multi-hot.

    Returns:
        bool N x (C + 1) x h x w; nothing is set in such an image.
    """
    has_pixels = masks[:, 1:].flatten(2).any(dim=2)
    complete = (has_pixels | ~labels.bool()).all(dim=1)
    return masks & complete[:, None, None, None]


@torch.no_grad()
def class_prototypes(features: Tensor, masks: Tensor, pixel_weighted: bool = False) -> tuple[Tensor, Tensor]:
    """Averages the features in the region of each class over the images of all ranks (eq. 3 and below).

    ``pt^k = sum_p M^k_p X_p / sum_p M^k_p`` for each image (the paper prints the sum and says average), then the mean
    over those images of the whole batch, on all ranks, that have a pixel of the class.

    Args:
        features: N x D x h x w, of SupportNet.
        masks: bool N x (C + 1) x h x w from :func:`class_region_masks`.
        pixel_weighted: Take the mean over all pixels of the class instead, so that large regions count more.

    Returns:
        ``prototypes`` (C + 1) x D, at least float32, not normalised, zeros for a class without pixels, and ``present``
        bool (C + 1): whether the class has pixels. Both are the same on all ranks.
    """
    features = at_least_float32(features)
    with no_autocast(features.device):
        sums = masks.flatten(2).to(features.dtype) @ features.flatten(2).transpose(1, 2)  # N x (C + 1) x D
    counts = masks.sum(dim=(2, 3))
    if not pixel_weighted:
        sums, counts = sums / counts.clamp(min=1)[:, :, None], counts > 0
    total, count = sums.sum(dim=0), counts.sum(dim=0)
    all_reduce(total)
    all_reduce(count)
    return total / count.clamp(min=1)[:, None], count > 0


def regional_contrast(features: Tensor, prototypes: Tensor, masks: Tensor, temperature: float = 0.5,
                      log: bool = True, normalize: str = 'count', valid: Tensor | None = None) -> Tensor:
    """Pulls every pixel's feature to the prototype of its class and away from the others (eq. 4 and 5).

    With ``x`` and ``pt`` of length one, ``sim(x, pt) = exp(x . pt / T)`` and
    ``L^k = - sum_p M^k_p log( sim(X_p, pt^k) / sum_{w=0..C} sim(X_p, pt^w) )``, summed over k.

    Args:
        features: N x D x h x w, of MainNet.
        prototypes: (C + 1) x D; no gradient flows into them.
        masks: bool N x (C + 1) x h x w from :func:`class_region_masks`.
        temperature: T.
        log: With the logarithm (InfoNCE, which the paper names); without it the ratio itself, as eq. 5 is printed.
        normalize: ``'count'`` divides the sum by the number of pixels that carry a mask. ``'balanced'`` divides that of
            each class by its own number; the background counts half, and the mean of the classes that have pixels
            the other half, so that small and rare classes weigh as much as others. ``'class_sum'`` adds up the means
            over the pixels of each class, the background's too, as "we sum the contrastive losses for all classes" can
            be read. ``'none'`` (eq. 5 as printed) divides by the number of images only. All counts are over all ranks.
        valid: bool (C + 1), the prototypes that exist (default: all). The others are left out of the denominator,
            and the pixels of their classes out of the loss.

    Returns:
        A scalar, at least float32; 0 if no pixel counts.

    Raises:
        ValueError: For another ``normalize``.
    """
    features = at_least_float32(features)
    prototypes = prototypes.detach().to(features.dtype)
    num_backgrounds = 1
    if valid is not None:
        prototypes, masks, num_backgrounds = prototypes[valid], masks[:, valid], int(valid[0])
    vectors = features.flatten(2)
    with no_autocast(features.device):
        # Dividing the products, not the vectors, by the length saves a copy of the features.
        cosine = F.normalize(prototypes, dim=1, eps=EPS) @ vectors
        cosine = cosine / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp(min=EPS)
        ratio = F.log_softmax(cosine / temperature, dim=1)
    return _masked_mean(ratio if log else ratio.exp(), masks, normalize, num_backgrounds)


def region_cross_entropy(cam: Tensor, masks: Tensor, labels: Tensor, temperature: float = 0.5,
                         normalize: str = 'count') -> Tensor:
    """Pulls a CAM directly to the class regions ("Direct" in Table 2).

    The paper gives no formula, only that the network has no channel for the background. So the background is ``1 -
    max_c cam^c``, as where a CAM becomes a label, and the cross entropy is eq. 5 with the value of the CAM in place of
    the cosine: ``- log softmax(cam_p / T)`` at the class of the pixel, over the background and the classes of the
    image. (Values of a normalised CAM differ by at most 1, so without T no class could win by more than a factor e.)

    Args:
        cam: N x C x h x w in [0, 1], of MainNet.
        masks: bool N x (C + 1) x h x w from :func:`class_region_masks`, for the same labels.
        labels: N x C, multi-hot.
        temperature: T.
        normalize: See :func:`regional_contrast`.

    Returns:
        A scalar, at least float32.

    Raises:
        ValueError: For another ``normalize``.
    """
    cam = at_least_float32(cam)
    absent = ~labels.bool()[:, :, None, None]
    logits = with_background(cam.masked_fill(absent, 0)) / temperature
    logits = logits.masked_fill(F.pad(absent, (0, 0, 0, 0, 1, 0)), -torch.inf)
    return _masked_mean(F.log_softmax(logits, dim=1).flatten(2), masks, normalize)


def _masked_mean(score: Tensor, masks: Tensor, normalize: str, num_backgrounds: int = 1) -> Tensor:
    # score: N x K x hw, masks: N x K x h x w. Not score * masks: a score may be infinite where no mask is set.
    if normalize not in NORMALIZATIONS:
        raise ValueError(f'normalize is one of {", ".join(NORMALIZATIONS)}, got {normalize!r}')
    masks = masks.flatten(2)
    loss, counts = -score.where(masks, 0).sum(dim=(0, 2)), masks.sum(dim=(0, 2))
    if normalize in ('balanced', 'class_sum'):
        all_reduce(counts)
        means, has_pixels = loss / counts.clamp(min=1), counts[num_backgrounds:] > 0
        if normalize == 'class_sum':
            return get_world_size() * means.sum()
        classes = means[num_backgrounds:].sum() / has_pixels.sum().clamp(min=1)
        return get_world_size() * (means[:num_backgrounds].sum() + classes) / 2
    count = counts.sum() if normalize == 'count' else torch.tensor(len(masks), device=masks.device)
    return global_mean(loss.sum(), count)
