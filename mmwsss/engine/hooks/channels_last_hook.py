"""Training and testing with the channels last in memory."""
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmwsss.engine.memory_format import to_channels_last
from mmwsss.registry import HOOKS


def _inputs_channels_last(module: nn.Module, args: tuple, output: dict) -> dict:
    inputs = output['inputs'] if isinstance(output, dict) else None
    if isinstance(inputs, Tensor) and inputs.dim() == 4:
        output['inputs'] = inputs.contiguous(memory_format=torch.channels_last)
    return output


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Stores the model's weights and its input batches with the channels last, which is faster.

    Convolution, BatchNorm and activations hand the layout on, so nothing in the model has to know of it.
    The weights are converted just before the first iteration: after initialisation, which would draw other
    random numbers in another layout, and after a checkpoint was loaded. Batches are converted behind the data
    preprocessor until the run ends. Checkpoints load into either layout.

    In a distributed training only the batches are converted, and the convolutions hand on that layout too: torch's
    ``DistributedDataParallel`` was built with the weights as they are. It lays out the buffers for gradients by
    that and reads them by the layout at the end of an iteration, so gradients of weights that were converted in
    between would come back with their elements mixed up.
    """

    def __init__(self) -> None:
        self._handle: torch.utils.hooks.RemovableHandle | None = None
        self._is_training = False

    def _convert(self, runner: Runner) -> None:
        is_wrapped = is_model_wrapper(runner.model)
        model = runner.model.module if is_wrapped else runner.model
        if not (is_wrapped and self._is_training):
            to_channels_last(model)
        if self._handle is None:
            self._handle = model.data_preprocessor.register_forward_hook(_inputs_channels_last)

    def before_train(self, runner: Runner) -> None:
        """Converts the weights and, from now on, the batches."""
        self._is_training = True
        self._convert(runner)

    def after_train(self, runner: Runner) -> None:
        """Knows that no gradients come any more."""
        self._is_training = False

    def before_val(self, runner: Runner) -> None:
        """Converts the weights and, from now on, the batches."""
        self._convert(runner)

    def before_test(self, runner: Runner) -> None:
        """Converts the weights and, from now on, the batches."""
        self._convert(runner)

    def after_run(self, runner: Runner) -> None:
        """Leaves the data preprocessor as it was."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
