"""Whether a pretrained backbone gets its images as it had them in its own training."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mmwsss.utils.errors import UserError

# Of values from 0 to 255. Rounded means (127 for 127.5) do no harm.
TOLERANCE = 1.0


@dataclass(frozen=True)
class StatedImages:
    """The images that weights are for, as their file says: what :func:`check_normalization` reads of a backbone.

    Attributes:
        mean, std: Of the RGB values from 0 to 255, whatever the order of the channels is.
        bgr_to_rgb: Whether the network takes RGB.
        file: Where the weights are from.
    """
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr_to_rgb: bool
    file: str


def stated_images(checkpoint: Any, file: str) -> StatedImages | None:
    """Returns what a checkpoint says of the images that its weights are for.

    Args:
        checkpoint: What the file holds. Converted ResNets have ``meta.images``: ``mean`` and ``std`` in the order of
            the network's channels, and ``bgr_to_rgb``.
        file: Its name.

    Returns:
        The images; ``None`` where the file does not tell.
    """
    images = checkpoint
    for key in ('meta', 'images'):
        images = images.get(key) if isinstance(images, dict) else None
    if not isinstance(images, dict) or not isinstance(images.get('bgr_to_rgb'), bool):
        return None
    is_rgb = images['bgr_to_rgb']
    try:
        mean, std = (_turned([float(value) for value in images[name]], is_rgb) for name in ('mean', 'std'))
    except (LookupError, TypeError, ValueError):  # another program means something else by the name
        return None
    return StatedImages(mean, std, is_rgb, file) if len(mean) == len(std) == 3 else None


def check_normalization(model: nn.Module) -> None:
    """Compares a model's data preprocessor with what its backbones say of their normalisation.

    A backbone says it with an attribute ``normalization``, which is ``None`` where that is not known. It has a ``mean``
    and ``std`` of RGB values from 0 to 255, and ``bgr_to_rgb=False`` if the network takes BGR. It is known when the
    backbone is built (:class:`mmwsss.models.HFBackbone`) or when its weights are loaded from a file that tells
    (:class:`mmwsss.engine.StrictPretrained`, :class:`StatedImages`).

    Args:
        model: A model with a data preprocessor; one without is not checked.

    Raises:
        UserError: If mean, standard deviation or the order of the channels differ.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    if preprocessor is None:
        return
    for name, module in model.named_modules():
        wanted = getattr(module, 'normalization', None)
        if wanted is None:
            continue
        mean, std, is_rgb = normalization_of(preprocessor)
        wants_rgb = getattr(wanted, 'bgr_to_rgb', True)
        wanted_mean, wanted_std = _turned(wanted.mean, wants_rgb), _turned(wanted.std, wants_rgb)
        differs = [abs(a - b) > TOLERANCE for a, b in zip((*mean, *std), (*wanted_mean, *wanted_std))]
        if is_rgb != wants_rgb or any(differs):
            given, name = f'mean={_rounded(mean)}, std={_rounded(std)}, {_order(is_rgb)}', name or 'the backbone'
            other = f'{"other " if is_rgb == wants_rgb else ""}{_order(wants_rgb)} images'
            file = getattr(wanted, 'file', None)
            reason = f'{name} has the weights of {file}, which are for {other}' if file else (
                f'{name} was trained with other images')
            raise UserError(f'data_preprocessor: {given}, but {reason}; set mean={_rounded(wanted_mean)}, '
                            f'std={_rounded(wanted_std)}, bgr_to_rgb={wants_rgb}')


def normalization_of(preprocessor: nn.Module) -> tuple[list[float], list[float], bool]:
    """Returns what a data preprocessor does to the values of images that were read as BGR.

    Args:
        preprocessor: mmseg's, or ours.

    Returns:
        Mean and standard deviation by channel, in the order of the model's input; 0 and 1 where it does not normalise.
        And whether this order is RGB: it is turned round first.
    """
    is_rgb = getattr(preprocessor, '_channel_conversion', False)
    if not getattr(preprocessor, '_enable_normalize', False):
        return [0.0] * 3, [1.0] * 3, is_rgb
    return preprocessor.mean.flatten().tolist(), preprocessor.std.flatten().tolist(), is_rgb


def _turned(values: Sequence[float], is_rgb: bool) -> tuple[float, ...]:
    """From RGB to the order of the channels, or back."""
    return tuple(values) if is_rgb else tuple(values)[::-1]


def _order(is_rgb: bool) -> str:
    return 'RGB' if is_rgb else 'BGR'


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]
