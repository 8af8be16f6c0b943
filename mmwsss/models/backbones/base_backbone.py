"""What our backbones share: stages that can be frozen and BatchNorm that can be held."""
from abc import abstractmethod

from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmwsss.utils.errors import UserError


class StagedBackbone(BaseModule):
    """A backbone of stages, the first of which can be kept as they were loaded.

    A subclass builds its modules, implements :meth:`stages` and ends its ``__init__`` with
    :meth:`freeze`, so that an optimizer or a DDP wrapper that is built before the first
    ``train()`` already sees what is trainable.

    Args:
        frozen_stages: Number of stages, from the input on, whose parameters get no gradient and
            whose BatchNorm and dropout stay in eval mode; 0 freezes none.
        norm_eval: Every BatchNorm stays in eval mode: it uses, and keeps, its running statistics.
        norm_frozen: The weight and bias of every BatchNorm get no gradient.
        init_cfg: Initialisation, as in mmengine.
    """

    def __init__(self,
                 frozen_stages: int = 0,
                 norm_eval: bool = False,
                 norm_frozen: bool = False,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.norm_frozen = norm_frozen

    @abstractmethod
    def stages(self) -> list[list[nn.Module]]:
        """Returns the modules of each stage, from the input to the output."""

    def freeze(self) -> None:
        """Puts what is frozen into eval mode and takes its gradients away.

        Raises:
            UserError: ``frozen_stages`` is not a number of stages that this backbone has.
        """
        stages = self.stages()
        if not 0 <= self.frozen_stages <= len(stages):
            raise UserError(f'{type(self).__name__}: frozen_stages={self.frozen_stages} is not possible; '
                            f'give a number from 0 (none) to {len(stages)} (all).')
        for stage in stages[:self.frozen_stages]:
            for module in stage:
                module.eval()
                module.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                if self.norm_eval:
                    module.eval()
                if self.norm_frozen:
                    module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'StagedBackbone':
        """Sets the training mode of everything that is not frozen."""
        super().train(mode)
        self.freeze()
        return self


def check_out_indices(backbone: str, out_indices: tuple[int, ...], num_taps: int) -> tuple[int, ...]:
    """Returns ``out_indices`` as a tuple.

    Raises:
        UserError: An index is not in [0, ``num_taps``), or the indices do not increase.
    """
    indices = tuple(out_indices)
    if any(not 0 <= i < num_taps for i in indices) or list(indices) != sorted(set(indices)):
        raise UserError(f'{backbone}: out_indices={indices} is not possible; '
                        f'give increasing numbers from 0 to {num_taps - 1}.')
    return indices
