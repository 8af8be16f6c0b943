"""What a process needs before it trains or tests."""
import torch

from mmwsss.engine.checkpoint import register_loaders
from mmwsss.utils.memory import keep_freed_memory
from mmwsss.utils.quiet_imports import ignore_unwanted_warnings
from mmwsss.utils.threads import wait_passively


def setup() -> None:
    """Prepares this process for training and inference; calling it again does no harm.

    Everything here holds for the whole process, which is why importing the package does none of it:

    - Threads wait passively, see :func:`mmwsss.utils.threads.wait_passively`. For this process itself that has to
      happen before torch is imported: :func:`mmwsss.setup` and the command ``mmwsss`` see to it.
    - MMEngine loads checkpoints with ``weights_only=True`` and never falls back to unpickling, see
      :func:`mmwsss.engine.checkpoint.register_loaders`.
    - Without a GPU the C library keeps freed memory for the next tensor, see
      :func:`mmwsss.utils.memory.keep_freed_memory`: up to twice as fast, and the process stays as large as it was.
    - Python's warnings that no user of mmwsss can act upon are ignored, see :mod:`mmwsss.utils.quiet_imports`.
    """
    wait_passively()
    register_loaders()
    ignore_unwanted_warnings()
    if not torch.cuda.is_available():
        keep_freed_memory()
