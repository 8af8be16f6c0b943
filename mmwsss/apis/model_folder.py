"""A trained model as a folder of its own: ``config.py``, ``weights.pth`` and ``classes.txt``."""
import copy
import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models.segmentors import BaseSegmentor
from torch import nn

from mmwsss.apis.runner import load_for_inference
from mmwsss.config.config import fill_num_classes, read_config
from mmwsss.config.inference_config import HEADER, inference_config
from mmwsss.engine.checkpoint import load_checkpoint_file, trained_classes
from mmwsss.engine.setup import setup
from mmwsss.models.affinity import BaseAffinityModel
from mmwsss.models.backbones.cached_backbone import CachedBackbone
from mmwsss.models.classifiers import BaseCAMModel
from mmwsss.models.utils.normalization import check_normalization
from mmwsss.registry import MODELS
from mmwsss.structures.label_file import voc_palette
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes, write_lines

CONFIG, WEIGHTS, CLASSES = 'config.py', 'weights.pth', 'classes.txt'


def is_segmentor(cfg: Config) -> bool:
    """Returns whether a config is one of a segmentor: of a model of mmseg's that gives a class to every pixel."""
    cls = _model_class(cfg)
    return issubclass(cls, BaseSegmentor) and not issubclass(cls, (BaseCAMModel, BaseAffinityModel))


def is_refiner(cfg: Config) -> bool:
    """Returns whether a config is one of a model that refines CAMs: AffinityNet, IRNet."""
    return issubclass(_model_class(cfg), BaseAffinityModel)


def _model_class(cfg: Config) -> type:
    kind = (cfg.get('model') or {}).get('type')
    return (MODELS.get(kind) if isinstance(kind, str) else kind) or object


def find_model(config: str | os.PathLike | Config,
               checkpoint: str | os.PathLike | None = None) -> tuple[Config, str | os.PathLike | None]:
    """Finds config and checkpoint of a trained model.

    Args:
        config: The folder that :func:`export_model` has written; or a config, which is copied, the path of one, or its
            name in the package.
        checkpoint: The checkpoint; of a folder its own.

    Returns:
        The config and the checkpoint; of a config that says ``init_is_trained`` it may be ``None``, as all its weights
        come from the ``init_cfg`` of its parts (``cam_efflite0_imagenet``).

    Raises:
        UserError: If a folder holds no such model, or a config comes without checkpoint.
    """
    if isinstance(config, Config):
        cfg = copy.deepcopy(config)
    elif Path(config).is_dir():
        if not Path(config, CONFIG).is_file():
            raise UserError(f'{config}: holds no {CONFIG} of a trained model; name the folder that mmwsss export or a '
                            'pipeline has written, or a config and a checkpoint')
        cfg, checkpoint = read_config(Path(config, CONFIG)), checkpoint or Path(config, WEIGHTS)
    else:
        cfg = read_config(config)
    if checkpoint is None and not cfg.get('init_is_trained'):
        raise UserError(f'{cfg.filename or "the config"}: comes without a checkpoint; name one')
    return cfg, checkpoint


def load_model(config: str | os.PathLike | Config, checkpoint: str | os.PathLike | None = None,
               classes: Sequence[str] | None = None,
               device: str | torch.device = 'cpu') -> tuple[Config, nn.Module, tuple[str, ...]]:
    """Builds a trained model in evaluation mode, without the parts that only training needs.

    Args:
        config: See :func:`find_model`.
        checkpoint: See there.
        classes: Names of the foreground classes; default: those that the checkpoint was trained with.
        device: Device of the model.

    Returns:
        The config with ``num_classes`` filled in, the model, and its classes (for a segmentor with the background).

    Raises:
        UserError: For a checkpoint of another model, or one without class names when none are given.
    """
    setup()
    cfg, checkpoint = find_model(config, checkpoint)
    if not cfg.get('model') or not cfg.get('test_dataloader'):
        raise UserError(f'{cfg.filename or "the config"}: has no model or no test_dataloader; name a config that '
                        'has both')
    scope = cfg.get('default_scope', 'mmwsss')
    init_default_scope('mmwsss' if scope == 'mmseg' else scope)  # which has mmseg's components too
    if classes:
        names = (('background', *classes) if is_segmentor(cfg) else tuple(classes))
    elif checkpoint is None:
        names = tuple(cfg.get('classes') or ())
    else:
        names = trained_classes(load_checkpoint_file(checkpoint, 'cpu'))
    if len(names) <= is_segmentor(cfg):
        raise UserError(f'{checkpoint or cfg.filename}: holds no class names; give them as classes=[...]')
    fill_num_classes(cfg.model, len(names))
    model = MODELS.build(copy.deepcopy(cfg.model))
    if checkpoint is None:
        model._dump_init_info = lambda: None  # MMEngine prints a paragraph for every parameter
        model.init_weights()
        del model._dump_init_info
        check_normalization(model)
    else:
        load_for_inference(model, checkpoint, names)
    model.to(device).eval()
    return cfg, model, names


def export_model(config: str | os.PathLike | Config, checkpoint: str | os.PathLike, out_dir: str | os.PathLike,
                 classes: Sequence[str] | None = None, half: bool = False) -> Path:
    """Exports a trained model as a folder that is independent of its training.

    ``config.py`` has the model and the pipeline of its test data, ``weights.pth`` the weights and the names of the
    classes, ``classes.txt`` the foreground classes, one a line. ``mmwsss predict``, ``CAMInferencer`` and
    ``SegInferencer`` take the folder; mmsegmentation's ``init_model`` and ``MMSegInferencer`` take the two files of a
    segmentor.

    Args:
        config: The config of a CAM model or a segmentor, see :func:`find_model`.
        checkpoint: Its checkpoint; ``None``: that of the folder which ``config`` is.
        out_dir: The folder. Missing folders are created.
        classes: Names of the foreground classes, for a checkpoint without them.
        half: Write the weights in half precision, which halves the file; inference is in float32.

    Returns:
        ``out_dir``.

    Raises:
        UserError: See :func:`load_model`; also for a model that refines CAMs, if the folder holds the checkpoint, or
            files and no exported model.
    """
    out_dir = Path(out_dir)
    cfg, checkpoint = find_model(config, checkpoint)
    if is_refiner(cfg):
        raise UserError(f'{cfg.filename or "the config"}: is of a model that refines CAMs, which mmwsss refine '
                        'applies; export a classifier or a segmentor')
    if checkpoint is not None and Path(out_dir, WEIGHTS).exists() and os.path.samefile(out_dir / WEIGHTS, checkpoint):
        raise UserError(f'{out_dir}: holds the checkpoint itself; name another folder')
    _check_out_dir(out_dir)
    cfg, model, names = load_model(cfg, checkpoint, classes)
    segmentor = is_segmentor(cfg)
    state = OrderedDict((key, value.half() if half and value.is_floating_point() else value)
                        for key, value in _own_state(model).items())
    meta = dict(classes=list(names))
    if segmentor:
        meta['palette'] = voc_palette(len(names))
    buffer = io.BytesIO()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=meta)), buffer)
    out_dir.mkdir(parents=True, exist_ok=True)
    text = inference_config(cfg, list(names), segmentor).pretty_text
    # First, so that the folder of an export that is interrupted is known as one.
    write_bytes(out_dir / CONFIG, (HEADER + text).encode())
    write_bytes(out_dir / WEIGHTS, buffer.getvalue())
    write_lines(out_dir / CLASSES, names[segmentor:])
    return out_dir


def _check_out_dir(out_dir: Path) -> None:
    """Refuses a folder that has files, but no model that was exported."""
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f'{out_dir}: is a file; name a folder for the model (--out-dir)')
    # Hidden ones are what a killed run leaves.
    if not out_dir.exists() or all(path.name.startswith('.') for path in out_dir.iterdir()):
        return
    config = out_dir / CONFIG
    if not config.is_file() or not config.read_bytes().startswith(HEADER.encode()):
        raise UserError(f'{out_dir}: has files and no model that mmwsss export has written, and some might be '
                        'replaced; name a new folder (--out-dir)')


def _own_state(model: nn.Module) -> OrderedDict:
    """Returns the weights as a model has them whose backbones are not cached."""
    cached = [name for name, module in model.named_modules() if isinstance(module, CachedBackbone)]
    state = model.state_dict()
    for name in cached:
        inside = f'{name}.backbone.'
        state = OrderedDict((key.replace(inside, f'{name}.', 1) if key.startswith(inside) else key, value)
                            for key, value in state.items())
    return state
