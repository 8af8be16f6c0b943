"""What the tools are made of, for use from Python: configs, runs, CAM making, evaluation, pipelines."""
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmwsss.apis.inferencer import CAMInferencer, CAMPrediction

__all__ = ['CAMInferencer', 'CAMPrediction']


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: the inferencer needs the models, and its module is in this package.
    if name in __all__:
        return getattr(import_module('mmwsss.apis.inferencer'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
