"""Trained models as ONNX files, for programs without PyTorch."""
import inspect
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from mmwsss.apis.model_folder import CLASSES, is_refiner, is_segmentor, load_model
from mmwsss.models.classifiers import BaseCAMModel
from mmwsss.models.utils.normalization import normalization_of
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import atomic_path, write_bytes

OPSET = 17
SIZE = (224, 224)  # what a graph for any size is traced with


class ONNXModel(nn.Module):
    """The graph that is exported: from an RGB image to scores, including the normalisation.

    Args:
        model: A CAM model, or a segmentor with one decode head, in eval mode.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.is_classifier = model, isinstance(model, BaseCAMModel)
        mean, std, self.is_rgb = normalization_of(model.data_preprocessor)
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return ('cam', 'score') if self.is_classifier else ('logits', )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """Computes the scores.

        Args:
            image: float32 N x 3 x H x W, RGB in 0..255.

        Returns:
            For a classifier the rectified class maps N x C x h x w, at the size of the features and without inference
            hooks, and the scores N x C in [0, 1]; for a segmentor the logits N x (C + 1) x H x W.
        """
        inputs = ((image if self.is_rgb else image[:, [2, 1, 0]]) - self.mean) / self.std
        if self.is_classifier:
            output = self.model.compute_cam(inputs)
            return output.cam, self.model.scores_of(output.logits)
        logits = self.model.decode_head(self.model.extract_feat(inputs))
        return F.interpolate(logits, size=image.shape[2:], mode='bilinear', align_corners=self.model.align_corners)


def export_onnx(config: str | os.PathLike | Config, checkpoint: str | os.PathLike | None, out_file: str | os.PathLike,
                classes: Sequence[str] | None = None, size: tuple[int, int] | None = None) -> Path:
    """Writes a trained model as an ONNX file, and ``classes.txt`` beside it.

    The input ``image`` is float32 [N, 3, H, W], RGB in 0..255. The outputs are those of :class:`ONNXModel`: ``cam`` and
    ``score`` of a classifier, ``logits`` of a segmentor, whose argmax is the label map. They equal PyTorch's in ONNX
    Runtime; OpenCV 5.0's ``cv2.dnn`` reads classifiers, but gives wrong numbers for the ASPP head of a DeepLab.

    Args:
        config: See :func:`mmwsss.apis.model_folder.find_model`.
        checkpoint: See there.
        out_file: The file, which ends in ``.onnx``.
        classes: Names of the foreground classes, for a checkpoint without them.
        size: Fixed (H, W) of the images, with N = 1; ``None``: any number of images of any size.

    Returns:
        ``out_file``.

    Raises:
        UserError: If the package ``onnx`` is missing, for a checkpoint of another model, or a model that cannot be
            written; if there is no ``out_file`` yet, but another ``classes.txt`` beside it.
    """
    try:
        import onnx  # noqa: F401  torch needs it
    except ImportError as error:
        raise UserError('an export to ONNX needs the package onnx; pip install "mmwsss[onnx]"') from error
    out_file = Path(out_file)
    if out_file.suffix != '.onnx':
        raise UserError(f'{out_file}: must end in .onnx')
    cfg, model, names = load_model(config, checkpoint, classes)
    if is_refiner(cfg) or not (isinstance(model, BaseCAMModel) or hasattr(model, 'decode_head')):
        raise UserError(f'{cfg.filename or "the config"}: is no classifier and no segmentor with a decode head; only '
                        'these can be written as ONNX')
    class_list = out_file.with_name(CLASSES)
    text = ''.join(f'{name}\n' for name in names[is_segmentor(cfg):]).encode()
    if not out_file.exists() and class_list.exists() and class_list.read_bytes() != text:
        raise UserError(f'{class_list}: is there and lists other classes than the model has; name a file in another '
                        'folder (--onnx)')
    graph = ONNXModel(model).eval()
    axes = None if size else {'image': {0: 'n', 2: 'h', 3: 'w'}, **{
        name: {0: 'n'} if name == 'score' else {0: 'n', 2: f'h_{name}', 3: f'w_{name}'} for name in graph.outputs}}
    options = {} if 'dynamo' not in inspect.signature(torch.onnx.export).parameters else dict(dynamo=False)
    image = torch.rand(1, 3, *(size or SIZE), generator=torch.Generator().manual_seed(0)) * 255
    out_file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out_file) as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # of the tracer and the exporter: nothing that a user could change
        try:
            torch.onnx.export(graph, (image, ), str(temporary), input_names=['image'],
                              output_names=list(graph.outputs), dynamic_axes=axes, opset_version=OPSET, **options)
        except (RuntimeError, torch.onnx.OnnxExporterError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f'{cfg.filename or "the config"}: cannot be written as ONNX ({reason})') from error
    write_bytes(class_list, text)
    return out_file
