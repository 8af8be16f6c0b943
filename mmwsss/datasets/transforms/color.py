"""Random colours."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from PIL import Image, ImageEnhance

from mmwsss.registry import TRANSFORMS
from mmwsss.utils.errors import UserError

# Of the RGB values of ImageNet in [0, 1], as the implementations have them.
IMAGENET_EIGENVALUES = (0.2175, 0.0188, 0.0045)
IMAGENET_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """Changes brightness, contrast, saturation and hue as torchvision's ``ColorJitter`` does with a PIL image.

    All four are drawn for every image, and applied in random order. mmseg's ``PhotoMetricDistortion`` applies each
    with a probability of one half, and adds to the brightness instead of multiplying it.

    Required and modified key: ``img``, uint8 [H, W, 3], BGR.

    Args:
        brightness: The factor is drawn uniformly from [max(0, 1 - brightness), 1 + brightness].
        contrast: The same for the contrast, about the mean grey value of the image.
        saturation: The same for the saturation.
        hue: The hue is turned by a fraction of the circle, drawn uniformly from [-hue, hue].

    Raises:
        ValueError: If a number is negative, or ``hue`` above 0.5.
    """

    def __init__(self, brightness: float = 0.3, contrast: float = 0.3, saturation: float = 0.3,
                 hue: float = 0.1) -> None:
        if min(brightness, contrast, saturation, hue) < 0 or hue > 0.5:
            raise ValueError('ColorJitter: brightness, contrast and saturation are at least 0, hue is in [0, 0.5]; got '
                             f'{brightness}, {contrast}, {saturation}, {hue}')
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    @cache_randomness
    def _random_changes(self) -> list[tuple[str, float]]:
        changes = [(name, np.random.uniform(max(0.0, 1 - getattr(self, name)), 1 + getattr(self, name)))
                   for name in ('brightness', 'contrast', 'saturation')]
        changes.append(('hue', np.random.uniform(-self.hue, self.hue)))
        return [changes[index] for index in np.random.permutation(len(changes))]

    def transform(self, results: dict) -> dict:
        """Changes the image."""
        _check_image(results, 'ColorJitter')
        image = Image.fromarray(np.ascontiguousarray(results['img'][..., ::-1]))
        for name, amount in self._random_changes():
            image = turn_hue(image, amount) if name == 'hue' else _ENHANCERS[name](image).enhance(amount)
        results['img'] = np.ascontiguousarray(np.asarray(image)[..., ::-1])
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, '
                f'saturation={self.saturation}, hue={self.hue})')


_ENHANCERS = dict(brightness=ImageEnhance.Brightness, contrast=ImageEnhance.Contrast, saturation=ImageEnhance.Color)


def turn_hue(image: Image.Image, fraction: float) -> Image.Image:
    """Turns the hue of an RGB image by a fraction of the circle, in steps of 1/256, towards zero."""
    hue, saturation, value = image.convert('HSV').split()
    turned = (np.asarray(hue).astype(np.int16) + int(fraction * 255)) % 256
    return Image.merge('HSV', (Image.fromarray(turned.astype(np.uint8)), saturation, value)).convert('RGB')


@TRANSFORMS.register_module()
class PCALighting(BaseTransform):
    """Adds a multiple of the principal components of the colours of ImageNet to every pixel.

    The colour augmentation of "ImageNet Classification with Deep Convolutional Neural Networks", section 4.1:
    ``p_1 a_1 l_1 + p_2 a_2 l_2 + p_3 a_3 l_3``, with eigenvectors p and eigenvalues l of the covariance of RGB values,
    and a drawn from a normal distribution once an image.

    Required and modified key: ``img``, uint8 [H, W, 3], BGR.

    Args:
        std: Standard deviation of a.
        eigenvalues: l, of RGB values in [0, 1].
        eigenvectors: p, as the columns of a 3 x 3 matrix, rows R, G, B.

    Raises:
        ValueError: If ``std`` is negative.
    """

    def __init__(self, std: float = 0.1, eigenvalues: Sequence[float] = IMAGENET_EIGENVALUES,
                 eigenvectors: Sequence[Sequence[float]] = IMAGENET_EIGENVECTORS) -> None:
        if std < 0:
            raise ValueError(f'PCALighting: std is at least 0, got {std}')
        self.std = std
        self.eigenvalues, self.eigenvectors = tuple(eigenvalues), tuple(map(tuple, eigenvectors))

    @cache_randomness
    def _random_amounts(self) -> np.ndarray:
        return np.random.normal(0, self.std, len(self.eigenvalues))

    def transform(self, results: dict) -> dict:
        """Changes the image."""
        _check_image(results, 'PCALighting')
        shift = 255 * np.asarray(self.eigenvectors) @ (self._random_amounts() * self.eigenvalues)  # RGB
        results['img'] = (results['img'] + shift[::-1]).round().clip(0, 255).astype(np.uint8)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(std={self.std})'


def _check_image(results: dict, name: str) -> None:
    image = results['img']
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f'{name}: needs an image of three channels in 8 bits, not {image.dtype} of the shape '
                        f'{image.shape}; load it with LoadImage, without to_float32')
