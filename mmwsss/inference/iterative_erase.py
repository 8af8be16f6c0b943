"""Iterative inference: what is active is erased, and the model looks again."""
import torch
from torch import Tensor

from mmwsss.inference.base import InferenceHook
from mmwsss.inference.crops import same_format
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import CAMFunction, CAMOutput
from mmwsss.structures.maps import resize_maps

ACCUMULATE = {'max': torch.maximum, 'sum': torch.add}
ERASE = ('any', 'class')
FILL = ('image_mean', 'dataset_mean')
NORMALIZE = ('first', 'round')
EPS = 1e-5  # least divisor, as in max_normalize; a map below it shows nothing


def mean_colour(images: Tensor) -> Tensor:
    """Returns the mean colour of every image: N x 3 x H x W -> N x 3 x 1 x 1."""
    return images.mean(dim=(2, 3), keepdim=True)


def present_classes(labels: Tensor | None, cam: Tensor) -> Tensor:
    """Returns which classes an image has: N x C, bool; all of them where labels are not known.

    Args:
        labels: N x C multi-hot, or ``None``.
        cam: N x C x h x w, for the shape.
    """
    return torch.ones(cam.shape[:2], dtype=torch.bool, device=cam.device) if labels is None else labels > 0


def active_area(maps: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Finds the pixels where one of several maps reaches a threshold.

    Args:
        maps: K x h x w; resized to the image before they are compared.
        size: (H, W) of the image.
        threshold: What a map must reach.

    Returns:
        1 x H x W, bool; false everywhere for K = 0.
    """
    return (resize_maps(maps[None], size)[0] >= threshold).any(dim=0, keepdim=True)


def with_mirror(cam_function: CAMFunction, images: Tensor, mirrored: Tensor, labels: Tensor | None) -> CAMOutput:
    """Adds the CAMs of images and of mirrored ones, mirrored back.

    Args:
        cam_function: The CAM function.
        images: N x 3 x H x W.
        mirrored: N x 3 x H x W, the mirror images, or what became of them.
        labels: N x C multi-hot or ``None``.

    Returns:
        The sum of both CAMs and the mean of both scores.
    """
    both = same_format(torch.cat([images, mirrored]), images)
    output = cam_function(both, None if labels is None else torch.cat([labels, labels]))
    cam, other = output.cam.chunk(2)
    return CAMOutput(cam=cam + other.flip(-1), logits=torch.stack(output.logits.float().chunk(2)).mean(dim=0))


@INFERENCE_HOOKS.register_module()
class IterativeErase(InferenceHook):
    """Refined iterative inference of "Inferring the Class Conditional Response Map" (WACV 2022), section 3.2.

    In every round the CAM of the image is taken, maps of classes that are not in the image are set to zero, and
    every map is divided by a maximum, see ``normalize``. The result is the maximum or the sum of the rounds. Pixels
    that reached the threshold in a round so far are painted over with the mean colour, and the image goes into the
    next round.

    An image is done, and leaves the batch, when the area that was newly activated is too small to go on, or after
    ``max_rounds``. Put around ``MultiScaleFlip``, its views are made from the erased image; put inside, every view is
    erased by itself.

    Images whose labels are not known (``labels=None``) count as having every class.

    Args:
        accumulate: Result: ``'max'`` (the released code) or ``'sum'`` (the paper) of the rounds.
        threshold: Activation in a single round from which a pixel is erased (section 4.1), also with ``'sum'``.
        stop_area: Share of the image. The rounds end when fewer pixels than this were newly activated (paper: 0.01).
            They always end when none was, since the next round would see the same image.
        max_rounds: Rounds at most, the first one included (the released code: 5; the paper gives no limit).
        erase: ``'any'``: one erased image for all classes, without the pixels where any class is active (the
            released code). ``'class'``: one for every class, without the pixels where that class is active; its
            rounds then make and end the map of this class only.
        fill: Colour of erased pixels: ``'image_mean'``, or ``'dataset_mean'``, which is zero in normalised images.
        normalize: Every round's map is divided by the maximum of the first round (``'first'``), or by its own
            (``'round'``, paper and released code), which makes what is left after the object is erased as strong as
            the object. With ``'first'`` a class whose first map shows nothing has no later one either.
        min_strength: For ``'round'``: the least divisor as a share of the first round's maximum: 0.1 keeps what has a
            hundredth of the object's activation at 0.1, and what shows nothing in the first round at 0. 0: none.
        mirror_mask: ``False``: this hook adds mirror images itself and paints the same pixels over in an image and in
            its mirror image, so that half of the views keep the object, as the released code does. Put
            ``MultiScaleFlip`` with ``flip=False`` inside. ``True``: mirror images are left to the hooks inside.

    Raises:
        ValueError: For an unknown name, a number out of range, or ``min_strength`` where nothing is divided by it.
    """

    def __init__(self, accumulate: str = 'max', threshold: float = 0.7, stop_area: float = 0.01, max_rounds: int = 5,
                 erase: str = 'any', fill: str = 'image_mean', normalize: str = 'first', min_strength: float = 0.0,
                 mirror_mask: bool = True) -> None:
        for name, value, known in (('accumulate', accumulate, tuple(ACCUMULATE)), ('erase', erase, ERASE),
                                   ('fill', fill, FILL), ('normalize', normalize, NORMALIZE)):
            if value not in known:
                raise ValueError(f'IterativeErase: {name} is one of {known}, got {value!r}')
        if threshold <= 0 or stop_area < 0 or max_rounds < 1:
            raise ValueError('IterativeErase needs threshold > 0, stop_area >= 0 and max_rounds >= 1, got '
                             f'{threshold}, {stop_area}, {max_rounds}')
        if not 0 <= min_strength <= 1:
            raise ValueError(f'IterativeErase: min_strength is in [0, 1], got {min_strength}')
        if min_strength and normalize == 'first':
            raise ValueError("IterativeErase: min_strength is for normalize='round'; with 'first' every round is "
                             "divided by the first one's maximum")
        self.accumulate = accumulate
        self.threshold = threshold
        self.stop_area = stop_area
        self.max_rounds = max_rounds
        self.erase = erase
        self.fill = fill
        self.normalize = normalize
        self.min_strength = min_strength
        self.mirror_mask = mirror_mask

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`.

        Returns:
            Maps at the resolution of the CAM function inside, N x C x h x w: as strong as the first round's for
            ``normalize='first'`` (so that patches keep the strengths that they have beside each other), in [0, 1] for
            the maximum of rounds over their own; zero for classes that are not in the image.
            The scores are those of the first round, whose image is whole; ``feats`` is empty.
        """
        output = self.look(cam_function, inputs, labels)
        first, logits = output.cam, output.logits
        del output  # its features are not needed
        cam = self.further_rounds(cam_function, inputs, labels, first)
        if self.normalize == 'first':
            cam = cam * first.float().amax(dim=(2, 3), keepdim=True)
        return CAMOutput(cam=cam, logits=logits)

    def look(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """Takes the CAM of whole images, with their mirror images where this hook makes them."""
        if self.mirror_mask:
            return cam_function(inputs, labels)
        return with_mirror(cam_function, inputs, inputs.flip(-1), labels)

    def further_rounds(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None, first: Tensor,
                       wanted: Tensor | None = None, area: int | None = None, mean: Tensor | None = None) -> Tensor:
        """Goes on from the CAM of the first round.

        Args:
            cam_function: The CAM function inside.
            inputs: N x 3 x H x W normalised images.
            labels: N x C multi-hot image labels or ``None``.
            first: N x C x h x w, the CAM of ``inputs``.
            wanted: N x C, bool: whose maps are needed; default all. Where every class is erased by itself, the
                rounds of the others are not made and their maps are zero.
            area: Pixels that ``stop_area`` is a share of; default H * W.
            mean: N x 3 x 1 x 1 mean colours for ``fill='image_mean'``; default those of ``inputs``.

        Returns:
            The maps N x C x h x w, float32: over the maximum of the first round or of every round, so in [0, 1], above
            where a later round or the sum goes beyond.
        """
        height, width = inputs.shape[-2:]
        result = torch.zeros(first.shape, dtype=torch.float32, device=first.device)
        present = present_classes(labels, first)
        if wanted is not None and self.erase == 'class':
            present = present & wanted
        image, category = present.nonzero(as_tuple=True)
        if not len(image):
            return result
        # Every class of every image has one map. Maps that are made from the same erased image are of one stream:
        # those of an image ('any'), or each map by itself ('class'). `owner` is the image that a stream looks at.
        numbers = torch.arange(len(inputs) if self.erase == 'any' else len(image), device=first.device)
        stream, owner = (image, numbers) if self.erase == 'any' else (numbers, image)
        if self.fill == 'dataset_mean':
            mean = inputs.new_zeros(*inputs.shape[:2], 1, 1)
        elif mean is None:
            mean = mean_colour(inputs)

        strength = first[image, category].float().amax(dim=(1, 2), keepdim=True)
        # Beside a first round without evidence a later one has no measure.
        has_measure = (strength > EPS) | (self.normalize == 'round' and not self.min_strength)
        strength = strength.clamp(min=EPS)
        running = first[image, category].float() / strength
        highest = running if self.accumulate == 'max' else running.clone()
        least = max(1, self.stop_area * (height * width if area is None else area))
        active, erased = numbers, torch.zeros_like(numbers)
        for _ in range(self.max_rounds - 1):
            masks = torch.stack([active_area(highest[stream == s], (height, width), self.threshold) for s in active])
            pixels = masks.sum(dim=(1, 2, 3))
            goes_on = pixels - erased[active] >= least
            erased[active] = pixels
            active, masks = active[goes_on], masks[goes_on]
            if not len(active):
                break
            # As many images at a time as came in, so that memory stays bounded where every class has its own.
            for streams, mask in zip(active.split(len(inputs)), masks.split(len(inputs))):
                owners = owner[streams]
                images = same_format(torch.where(mask, mean[owners], inputs[owners]), inputs)
                given = None if labels is None else labels[owners]
                if self.mirror_mask:
                    cam = cam_function(images, given).cam
                else:
                    cam = with_mirror(cam_function, images, torch.where(mask, mean[owners], inputs[owners].flip(-1)),
                                      given).cam
                row = torch.full_like(numbers, -1)
                row[streams] = torch.arange(len(streams), device=row.device)
                maps = (row[stream] >= 0).nonzero().flatten()
                new = cam[row[stream[maps]], category[maps]].float()
                if self.normalize == 'first':
                    new = new / strength[maps]
                else:
                    least_divisor = (self.min_strength * strength[maps]).clamp(min=EPS)
                    new = new / new.amax(dim=(1, 2), keepdim=True).maximum(least_divisor)
                new = new * has_measure[maps]
                running[maps] = ACCUMULATE[self.accumulate](running[maps], new)
                highest[maps] = torch.maximum(highest[maps], new)
        result[image, category] = running
        return result
