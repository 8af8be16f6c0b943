"""Mixed precision that also works on CPUs."""
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.optim import OptimWrapper
from torch import nn

from mmwsss.engine.mixed_precision import autocast
from mmwsss.registry import OPTIM_WRAPPERS
from mmwsss.utils.errors import UserError


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Runs forward pass and losses in bfloat16 where that is safe, on CPUs and GPUs.

    MMEngine's ``AmpOptimWrapper`` demands a GPU. bfloat16 has the range of float32, so the loss needs no
    scaling; weights and optimizer stay in float32. Gradient accumulation and clipping as in ``OptimWrapper``.

    Args:
        dtype: ``'bfloat16'``.
        **kwargs: See :class:`mmengine.optim.OptimWrapper`.

    Raises:
        UserError: For another ``dtype``.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs) -> None:
        if dtype == 'float16':
            raise UserError('optim_wrapper.dtype=float16 needs a scaled loss: on a GPU set '
                            "optim_wrapper.type='AmpOptimWrapper', else dtype='bfloat16'")
        if dtype != 'bfloat16':
            raise UserError(f"optim_wrapper.dtype={dtype}: AutocastOptimWrapper knows 'bfloat16'")
        super().__init__(**kwargs)
        self.dtype = dtype

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocasts what runs in it, and defers the synchronisation of accumulated gradients."""
        with super().optim_context(model), autocast(model, self.dtype):
            yield
