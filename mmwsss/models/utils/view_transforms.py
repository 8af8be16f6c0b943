"""The transformations A of SEAM: they make the second view of a batch, and act on images and class maps alike.

`Self-supervised Equivariant Attention Mechanism for Weakly Supervised Semantic Segmentation
<https://arxiv.org/abs/2004.04581>`_ (CVPR 2020) asks of a network F that F(A(image)) = A(F(image)) (Eq. 3). One
training step therefore draws A once and applies it to the images of one branch and to the maps of the other::

    transform = TASK_UTILS.build(dict(type='ComposeViews', transforms=[
        dict(type='FlipView'), dict(type='RescaleView', scale=0.3)]))
    view = transform.sample(len(images), images.shape[-2:])
    images2, maps2 = view(images), view(maps)
"""
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.registry import TASK_UTILS

ViewFunction = Callable[[Tensor], Tensor]


def rescaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Returns the size of a rescaled image: floor(side * scale) of both sides, at least 1.

    The product is rounded in double precision, as ``F.interpolate(scale_factor=scale)`` does it.
    """
    return max(1, math.floor(size[0] * scale)), max(1, math.floor(size[1] * scale))


def rescale(x: Tensor, scale: float) -> Tensor:
    """Rescales bilinearly with aligned corners, without an antialiasing filter, as SEAM's code does.

    Equal to ``F.interpolate(x, scale_factor=scale, mode='bilinear', align_corners=True)``, which refuses sides that
    would become smaller than one pixel.

    Args:
        x: N x C x H x W.
        scale: Factor for both sides.

    Returns:
        N x C x max(1, floor(scale * H)) x max(1, floor(scale * W)), same type.
    """
    size = rescaled_size(x.shape[-2:], scale)
    return F.interpolate(x, size=size, mode='bilinear', align_corners=True)


def flip_images(x: Tensor, flipped: Tensor) -> Tensor:
    """Mirrors some of the images left to right.

    Args:
        x: N x C x H x W.
        flipped: N bools, which images to mirror.

    Returns:
        Tensor of the same shape and type.
    """
    return torch.where(flipped.to(x.device)[:, None, None, None], x.flip(-1), x)


def rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Rotates every image about its centre by its own angle, bilinearly, with zeros from outside the image.

    Zero is the mean colour of a normalised image, and no activation in a class map.

    Args:
        x: N x C x H x W, any floating type. Half precision is rotated in float32.
        degrees: N angles; positive is counterclockwise as displayed.

    Returns:
        Tensor of the same shape and type.
    """
    height, width = x.shape[-2:]
    angle = torch.deg2rad(degrees.double())
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # A pixel is taken from where it lies before the rotation. Both axes of the grid run from -1 to 1 whatever their
    # length, so the mixed terms hold the aspect ratio: without it a rectangle is sheared.
    theta = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1).view(-1, 2, 3)
    # In double precision neither autocast nor TF32 makes affine_grid's matrix product coarse: in bfloat16 positions
    # are off by more than a pixel at 448 x 448. align_corners=False, as a side of one pixel has no extent otherwise.
    grid = F.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
    dtype = torch.promote_types(x.dtype, torch.float32)
    rotated = F.grid_sample(x.to(dtype), grid.to(dtype), mode='bilinear', padding_mode='zeros', align_corners=False)
    return rotated.to(x.dtype)


def translate(x: Tensor, shifts: Tensor) -> Tensor:
    """Moves every image by its own whole number of pixels; zeros come in, as in :func:`rotate`.

    Args:
        x: N x C x H x W.
        shifts: N x 2 integers (down, right); values beyond the image's size leave only zeros.

    Returns:
        Tensor of the same shape and type; the pixels that stay are copied exactly.
    """
    height, width = x.shape[-2:]
    moved = []
    for image, (down, right) in zip(x, shifts.tolist(), strict=True):
        down, right = max(-height, min(down, height)), max(-width, min(right, width))
        moved.append(F.pad(image, (right, -right, down, -down)))  # a negative pad cuts off
    return torch.stack(moved)


def find_inside(transform: ViewFunction, maps: Tensor) -> Tensor:
    """Returns which pixels of a view show the image and nothing else.

    Args:
        transform: A.
        maps: N x C x H x W, what A is for.

    Returns:
        N x 1 x H' x W' bools. A pixel that is interpolated between the image and the outside is False.
    """
    # Weights of an interpolation sum up to 1 but for rounding.
    return transform(torch.ones_like(maps[:, :1], dtype=torch.float32)) > 1 - 1e-3


class ViewTransform(ABC):
    """A random transformation of a batch that can be applied to several tensors in the same way.

    A subclass implements :meth:`draw`, and :meth:`output_size` if it changes the size.

    Attributes:
        takes_in: Whether a view may show what lies outside of the image, as zeros.
    """

    takes_in = True

    def sample(self, num_images: int, size: tuple[int, int]) -> ViewFunction:
        """Draws a transformation, for every image its own where it is random.

        The numbers come from torch's global CPU generator wherever the tensors are, so that a seed fixes them, and
        :class:`mmwsss.engine.hooks.SeedHook` gives every rank its own.

        Args:
            num_images: N.
            size: (H, W) of the tensors that will be transformed.

        Returns:
            A function of N x C x H x W, any number of channels, differentiable with respect to its input, that keeps
            device and type. It may be called any number of times, and raises ValueError for another N or size.
        """
        size = int(size[0]), int(size[1])
        function = self.draw(num_images, size)
        name = type(self).__name__

        def apply(x: Tensor) -> Tensor:
            if x.ndim != 4 or len(x) != num_images or tuple(x.shape[-2:]) != size:
                raise ValueError(f'{name} was sampled for {num_images} x C x {size[0]} x {size[1]}, '
                                 f'got {" x ".join(map(str, x.shape))}')
            return function(x)

        return apply

    @abstractmethod
    def draw(self, num_images: int, size: tuple[int, int]) -> ViewFunction:
        """Draws the parameters and returns the function that applies them, see :meth:`sample`."""

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the size (H, W) that an image of the size (H, W) gets: here, the same."""
        return size


@TASK_UTILS.register_module()
class RescaleView(ViewTransform):
    """Rescales all images by one fixed factor, see :func:`rescale`; the only A of SEAM's main results.

    Args:
        scale: Factor of both sides, in (0, 4]; the paper takes 0.3, and 0.5 in Table 4.

    Raises:
        ValueError: For a scale outside (0, 4].
    """

    takes_in = False

    def __init__(self, scale: float = 0.3) -> None:
        if not 0 < scale <= 4:
            raise ValueError(f'RescaleView: scale lies in (0, 4], got {scale}')
        self.scale = scale

    def draw(self, num_images: int, size: tuple[int, int]) -> ViewFunction:
        """See :meth:`ViewTransform.draw`; nothing is random."""
        return lambda x: rescale(x, self.scale)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See :func:`rescaled_size`."""
        return rescaled_size(size, self.scale)


@TASK_UTILS.register_module()
class FlipView(ViewTransform):
    """Mirrors images left to right.

    Args:
        prob: Probability that an image is mirrored.

    Raises:
        ValueError: For a probability outside [0, 1].
    """

    takes_in = False

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'FlipView: prob lies in [0, 1], got {prob}')
        self.prob = prob

    def draw(self, num_images: int, size: tuple[int, int]) -> ViewFunction:
        """See :meth:`ViewTransform.draw`."""
        flipped = torch.rand(num_images, device='cpu') < self.prob
        return lambda x: flip_images(x, flipped)


@TASK_UTILS.register_module()
class RotateView(ViewTransform):
    """Rotates images about their centre by angles drawn uniformly from [-max_degrees, max_degrees], see :func:`rotate`.

    Args:
        max_degrees: Largest angle, in [0, 180]; the paper takes 20.

    Raises:
        ValueError: For an angle outside [0, 180].
    """

    def __init__(self, max_degrees: float = 20.0) -> None:
        if not 0 <= max_degrees <= 180:
            raise ValueError(f'RotateView: max_degrees lies in [0, 180], got {max_degrees}')
        self.max_degrees = max_degrees

    def draw(self, num_images: int, size: tuple[int, int]) -> ViewFunction:
        """See :meth:`ViewTransform.draw`."""
        degrees = (2 * torch.rand(num_images, device='cpu') - 1) * self.max_degrees
        return lambda x: rotate(x, degrees)


@TASK_UTILS.register_module()
class TranslateView(ViewTransform):
    """Moves images by whole pixels, see :func:`translate`.

    The paper says "random rotation in [-20, 20] degrees, translation by 15 pixels" (Sec. 4.2, Table 3). We read 15
    as the largest shift, in analogy to the angle; ``exact=True`` is the other reading.

    Args:
        max_pixels: Largest shift along either axis.
        exact: False: both shifts of an image are drawn uniformly from the integers in [-max_pixels, max_pixels].
            True: both are max_pixels or -max_pixels, with equal probability.

    Raises:
        ValueError: If max_pixels is no integer or negative.
    """

    def __init__(self, max_pixels: int = 15, exact: bool = False) -> None:
        if not isinstance(max_pixels, int) or max_pixels < 0:
            raise ValueError(f'TranslateView: max_pixels is an integer >= 0, got {max_pixels}')
        self.max_pixels = max_pixels
        self.exact = exact

    def draw(self, num_images: int, size: tuple[int, int]) -> ViewFunction:
        """See :meth:`ViewTransform.draw`."""
        if self.exact:
            shifts = (2 * torch.randint(0, 2, (num_images, 2), device='cpu') - 1) * self.max_pixels
        else:
            shifts = torch.randint(-self.max_pixels, self.max_pixels + 1, (num_images, 2), device='cpu')
        return lambda x: translate(x, shifts)


@TASK_UTILS.register_module()
class ComposeViews(ViewTransform):
    """Applies transformations one after the other; each is drawn for the size that the one before it leaves.

    Args:
        transforms: Configs of transformations registered in ``TASK_UTILS`` (or the objects), first one first. Pixels of
            a ``TranslateView`` behind a ``RescaleView`` are pixels of the rescaled image.

    Raises:
        ValueError: For an empty list, or a component that is no :class:`ViewTransform`.
    """

    def __init__(self, transforms: Sequence[dict | ViewTransform]) -> None:
        self.transforms = [TASK_UTILS.build(item) if isinstance(item, dict) else item for item in transforms]
        if not self.transforms:
            raise ValueError('ComposeViews needs at least one transform')
        for transform in self.transforms:
            if not isinstance(transform, ViewTransform):
                raise ValueError(f'ComposeViews takes ViewTransforms, got {type(transform).__name__}')
        self.takes_in = any(transform.takes_in for transform in self.transforms)

    def draw(self, num_images: int, size: tuple[int, int]) -> ViewFunction:
        """See :meth:`ViewTransform.draw`; parameters are drawn in the order of the list."""
        functions = []
        for transform in self.transforms:
            functions.append(transform.sample(num_images, size))
            size = transform.output_size(size)

        def apply(x: Tensor) -> Tensor:
            for function in functions:
                x = function(x)
            return x

        return apply

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the size that the last transformation leaves."""
        for transform in self.transforms:
            size = transform.output_size(size)
        return size
