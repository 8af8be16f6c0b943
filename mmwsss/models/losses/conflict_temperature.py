"""How well pseudo label and saliency agree: the conflict temperature of InferCam's last loss (section 3.3)."""
import torch
from mmengine.dist import all_reduce
from torch import Tensor

IGNORE = 255
# A pixel is salient from here on.
SALIENT = 0.5


def background_conflict(labels: Tensor, saliency: Tensor, ignore_index: int = IGNORE, per_image: bool = True) -> Tensor:
    """Computes the conflict temperature tau: how well label and saliency agree on the background (section 3.3).

    tau is the mean IoU of the two maps "background, not background" that label (0, above) and saliency (below 0.5,
    from 0.5 on) make of an image. It is the agreement itself: 1 where both maps are the same, 0 where they have nothing
    in common. A class that neither map has is left out of the mean, so an image without object and without saliency
    has 1.

    Args:
        labels: N x H x W, integers, 0 for the background.
        saliency: N x H x W in [0, 1].
        ignore_index: Label of pixels that count in neither map.
        per_image: One temperature for each image; otherwise one for the batch (of all ranks), from the sums of
            intersections and unions.

    Returns:
        [N], or a scalar for the batch, float32 in [0, 1], without gradient; 0 where every pixel is ignored.
    """
    valid = labels != ignore_index
    label_background, saliency_background = labels == 0, saliency.detach() < SALIENT
    both = torch.stack([label_background & saliency_background, ~label_background & ~saliency_background])
    either = torch.stack([label_background | saliency_background, ~label_background | ~saliency_background])
    intersections, unions = ((masks & valid).flatten(2).sum(dim=2) for masks in (both, either))  # 2 x N
    if not per_image:
        intersections, unions = intersections.sum(dim=1), unions.sum(dim=1)
        all_reduce(intersections)
        all_reduce(unions)
    ious = intersections.float() / unions.clamp(min=1)
    return ious.sum(dim=0) / (unions > 0).sum(dim=0).clamp(min=1)


def class_conflict(labels: Tensor, saliency: Tensor, tau: Tensor, num_classes: int,
                   ignore_index: int = IGNORE) -> Tensor:
    """Computes a conflict temperature for every pixel, which tells the classes of an image apart. Not in the paper.

    A pixel of an object has the temperature of its image or, where it is less, the share of the pixels of its class in
    this image that are salient (from 0.5 on): a class that saliency misses has 0, however well the others agree. All
    other pixels have the temperature of their image.

    Args:
        labels: N x H x W, integers, 0 for the background.
        saliency: N x H x W in [0, 1].
        tau: [N], see :func:`background_conflict`.
        num_classes: Number of classes with the background.
        ignore_index: Label of pixels without class.

    Returns:
        N x H x W, float32 in [0, 1], without gradient.
    """
    classes = labels.where(labels != ignore_index, 0).flatten(1).long()
    salient = (saliency.detach() >= SALIENT).flatten(1).float()
    empty = salient.new_zeros(len(labels), num_classes)
    sizes, hits = (empty.scatter_add(1, classes, pixels) for pixels in (torch.ones_like(salient), salient))
    shares = hits / sizes.clamp(min=1)
    shares[:, 0] = 1  # the background, and what is ignored
    return torch.minimum(shares.gather(1, classes), tau[:, None]).view(labels.shape)
