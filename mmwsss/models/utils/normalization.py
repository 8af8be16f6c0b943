"""Whether a pretrained backbone gets its images as it had them in its own training."""
from torch import nn

from mmwsss.utils.errors import UserError

# Of values from 0 to 255. Rounded means (127 for 127.5) do no harm.
TOLERANCE = 1.0


def check_normalization(model: nn.Module) -> None:
    """Compares a model's data preprocessor with what its backbones say of their normalisation.

    A backbone says it with an attribute ``normalization``, which has a ``mean`` and ``std`` of RGB values from 0 to
    255, or is ``None`` where that is not known (:class:`mmwsss.models.HFBackbone`).

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
        differs = [abs(a - b) > TOLERANCE for a, b in zip((*mean, *std), (*wanted.mean, *wanted.std))]
        if not is_rgb or any(differs):
            given = f'mean={_rounded(mean)}, std={_rounded(std)}, {"RGB" if is_rgb else "BGR"}'
            raise UserError(f'data_preprocessor: {given}, but {name or "the backbone"} was trained with other images; '
                            f'set mean={_rounded(wanted.mean)}, std={_rounded(wanted.std)}, bgr_to_rgb=True')


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


def _rounded(values: list[float] | tuple[float, ...]) -> list[float]:
    return [round(value, 3) for value in values]
