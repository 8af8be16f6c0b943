"""What trains and tests: hooks, loops, samplers, optimizer wrappers, checkpoints."""
# ruff: noqa: E402
from mmwsss.utils.quiet_imports import import_quietly

import_quietly('mmseg.engine')  # fills the parent registry, which Registry.get does not

from mmwsss.engine import hooks, optimizers, samplers
from mmwsss.engine.checkpoint import load_checkpoint_file, load_state_dict_strict, load_weights_strict
from mmwsss.engine.file_backend import AtomicBackend
from mmwsss.engine.loops import CAMTestLoop
from mmwsss.engine.train_loops import IterLimitedTrainLoop
from mmwsss.engine.weight_init import StrictPretrained

__all__ = ['AtomicBackend', 'CAMTestLoop', 'IterLimitedTrainLoop', 'StrictPretrained', 'hooks', 'load_checkpoint_file',
           'load_state_dict_strict', 'load_weights_strict', 'optimizers', 'samplers']
