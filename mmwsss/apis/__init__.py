"""What a user calls from Python: training, testing, CAMs, evaluation, labels, saliency, prediction, export."""
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmwsss.apis.cam_files import make_cam, refine_cam
    from mmwsss.apis.evaluation import evaluate
    from mmwsss.apis.inferencer import CAMInferencer
    from mmwsss.apis.model_folder import export_model
    from mmwsss.apis.onnx_export import export_onnx
    from mmwsss.apis.predict import write_predictions
    from mmwsss.apis.predictions import CAMPrediction, SegPrediction
    from mmwsss.apis.pseudo_label import make_pseudo_label
    from mmwsss.apis.runner import RunResult, test, train
    from mmwsss.apis.seg_inferencer import SegInferencer
    from mmwsss.saliency.saliency_maps import make_saliency

__all__ = ['CAMInferencer', 'CAMPrediction', 'RunResult', 'SegInferencer', 'SegPrediction', 'evaluate',
           'export_model', 'export_onnx', 'make_cam', 'make_pseudo_label', 'make_saliency', 'refine_cam', 'test',
           'train', 'write_predictions']

_MODULES = {
    'CAMInferencer': 'mmwsss.apis.inferencer', 'CAMPrediction': 'mmwsss.apis.predictions',
    'SegInferencer': 'mmwsss.apis.seg_inferencer', 'SegPrediction': 'mmwsss.apis.predictions',
    'write_predictions': 'mmwsss.apis.predict', 'RunResult': 'mmwsss.apis.runner',
    'export_model': 'mmwsss.apis.model_folder', 'export_onnx': 'mmwsss.apis.onnx_export',
    'evaluate': 'mmwsss.apis.evaluation', 'make_cam': 'mmwsss.apis.cam_files',
    'make_pseudo_label': 'mmwsss.apis.pseudo_label', 'make_saliency': 'mmwsss.saliency.saliency_maps',
    'refine_cam': 'mmwsss.apis.cam_files', 'test': 'mmwsss.apis.runner', 'train': 'mmwsss.apis.runner'}


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: most of these need the models, whose import takes seconds.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
