"""The device that a user names."""
import torch

from mmwsss.utils.errors import UserError


def find_device(device: str | torch.device | None = None) -> torch.device:
    """Returns the device that is meant.

    Args:
        device: Such as ``'cuda:1'``; ``None``: the GPU, if there is one.

    Raises:
        UserError: If there is no such device here, or it holds no numbers (``'meta'``).
    """
    if device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        found = torch.device(device)
        torch.empty(1, device=found)  # the name of a device that is not there is a name, too
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f'device {str(device)!r}: cannot be used here ({reason}); name another, such as cpu') from error
    if found.type == 'meta':
        raise UserError(f'device {str(device)!r}: holds shapes and no numbers; name another, such as cpu')
    return found
