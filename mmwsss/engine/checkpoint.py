"""Loading checkpoints: tensors and built-in types only, and never only half of the weights.

:func:`register_loaders`, a part of :func:`mmwsss.setup`, replaces every loader of MMEngine's ``CheckpointLoader``, so
that ``Runner.load_checkpoint``, ``Runner.resume`` and ``init_cfg=dict(type='Pretrained')`` load with
``weights_only=True`` too. MMEngine's own loaders fall back to unpickling, which runs code from the file.
"""
import errno
import io
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    _get_mmengine_home,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from torch import Tensor, nn

from mmwsss.engine.download import ADVICE, fetch
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes
from mmwsss.utils.package_file import PACKAGE_SCHEME, package_file

MapLocation = str | torch.device | Callable | None

# What torch's readers raise on a file that is not a whole checkpoint (found by cutting and flipping bytes).
_BROKEN_FILE = (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, LookupError, AttributeError,
                TypeError, AssertionError, struct.error, zipfile.BadZipFile)
# Under which key training codes keep the weights; MMEngine's comes first.
WEIGHT_KEYS = ('state_dict', 'model', 'model_state_dict', 'net', 'network', 'weights', 'params')
_MODEL_ZOOS = {
    'torchvision': get_torchvision_models,
    'modelzoo': get_torchvision_models,
    'open-mmlab': get_external_models,
    'openmmlab': get_external_models,
    'mmcls': get_mmcls_models,
}


def load_checkpoint_file(path: str | os.PathLike, map_location: MapLocation = 'cpu') -> Any:
    """Loads a checkpoint file that holds tensors and built-in types only (numbers, strings, containers of them).

    Args:
        path: The file.
        map_location: See :func:`torch.load`; ``None`` means the CPU.

    Returns:
        What the file holds.

    Raises:
        UserError: If the file is missing, truncated or no checkpoint, or if it holds other Python objects,
            which are not unpickled.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f'{path}: no such checkpoint file; check the path')
    try:
        with warnings.catch_warnings():
            # On a file that is no checkpoint torch also warns of pickle protocols and archives.
            warnings.simplefilter('ignore', UserWarning)
            return torch.load(path, map_location=map_location or 'cpu', weights_only=True)
    except torch.cuda.OutOfMemoryError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # torch seeks before the start of some truncated files
            raise UserError(f'{path}: cannot be read ({error.strerror}); check its permissions and the disk') from error
        raise UserError(f'{path}: {_explain(error)}') from error
    except _BROKEN_FILE as error:
        raise UserError(f'{path}: {_explain(error)}') from error


def _explain(error: Exception) -> str:
    refused = re.search(r'GLOBAL (\S+)', str(error))
    if isinstance(error, pickle.UnpicklingError) and refused:
        return (f'holds Python objects ({refused[1]}) besides tensors and built-in types, and loading those could '
                'run code from the file; if you trust its source, load it with torch.load and save its state dict '
                'alone')
    if 'TorchScript' in str(error):
        return 'is a TorchScript archive, not a checkpoint; save the state dict of the model instead'
    return 'is truncated or no checkpoint of PyTorch; copy or download it again'


# MMEngine prints a loader's name without its first ten letters, so they are called load_from_...

def load_from_local(filename: str, map_location: MapLocation = None) -> Any:
    """Loads a local file, see :func:`load_checkpoint_file`."""
    return load_checkpoint_file(filename, map_location)


def load_from_package(filename: str, map_location: MapLocation = None) -> Any:
    """Loads a file that an installed Python package ships, see :func:`package_file`."""
    return load_checkpoint_file(package_file(filename), map_location)


def load_from_url(filename: str, map_location: MapLocation = None) -> Any:
    """Loads a file from the network or the cache, see :func:`mmwsss.engine.download.fetch`.

    Raises:
        UserError: See there and :func:`load_checkpoint_file`.
    """
    return load_checkpoint_file(fetch(filename), map_location)


def load_from_zoo(filename: str, map_location: MapLocation = None) -> Any:
    """Loads a model by its name in a model zoo that MMEngine knows, e.g. ``torchvision://resnet50``.

    Raises:
        UserError: If the zoo has no such model or cannot be read, or see :func:`load_from_url`.
    """
    zoo = filename.partition('://')[0]
    place = _place_in_zoo(filename)
    if isinstance(place, Path):
        return load_checkpoint_file(place, map_location)
    checkpoint = load_from_url(place, map_location)
    if zoo != 'mmcls':
        return checkpoint
    # mmcls checkpoints hold a whole classifier; its users want the backbone.
    state_dict = extract_state_dict(checkpoint, filename)
    return {key.removeprefix('backbone.'): value for key, value in state_dict.items() if key.startswith('backbone.')}


def _place_in_zoo(filename: str, advice: str = ADVICE) -> str | Path:
    """Returns the url of a model in a zoo, or the path of a file that MMEngine keeps for it."""
    zoo, _, name = filename.partition('://')
    try:
        urls = _MODEL_ZOOS[zoo]()
    except ImportError as error:
        raise UserError(f'{filename}: needs torchvision ({error}); pip install torchvision, or {advice}') from error
    name = get_deprecated_model_names().get(name, name) if 'mmlab' in zoo else name
    if name not in urls:
        raise UserError(f'{filename}: {zoo} has no such model; {advice}')
    is_url = urls[name].startswith(('http://', 'https://'))
    return urls[name] if is_url else Path(_get_mmengine_home(), urls[name])


def fetch_checkpoint(filename: str, advice: str = ADVICE) -> None:
    """Downloads the file that a name stands for into the cache, unless it is there, without loading it.

    Args:
        filename: As for :func:`load_checkpoint`. Of a file, and of one that a package ships, there is nothing to do.
        advice: What to do if it fails, for the error.

    Raises:
        UserError: If it cannot be downloaded, or the zoo has no such model.
    """
    place = _place_in_zoo(filename, advice) if filename.partition('://')[0] in _MODEL_ZOOS else filename
    if isinstance(place, str) and place.startswith(('http://', 'https://')):
        fetch(place, advice)


def load_from_storage(filename: str, map_location: MapLocation = None) -> Any:
    """Refuses storage services, whose loaders in MMEngine unpickle.

    Raises:
        UserError: Always.
    """
    raise UserError(f'{filename}: checkpoints are not loaded from this storage; copy the file to a local path')


def register_loaders() -> None:
    """Makes MMEngine's ``CheckpointLoader`` load with the functions above, whatever it is asked for."""
    for prefixes, loader in (
            ('', load_from_local), (PACKAGE_SCHEME, load_from_package), (('http://', 'https://'), load_from_url),
            ([f'{name}://' for name in _MODEL_ZOOS], load_from_zoo),
            (['pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], load_from_storage)):
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


def load_checkpoint(filename: str | os.PathLike, map_location: MapLocation = 'cpu') -> Any:
    """Loads a file, or a url that ``CheckpointLoader`` knows, with the loaders of this module.

    Args:
        filename: The file or url.
        map_location: See :func:`torch.load`.

    Returns:
        What it holds.

    Raises:
        UserError: See :func:`load_checkpoint_file`.
    """
    register_loaders()
    return CheckpointLoader.load_checkpoint(os.fspath(filename), map_location=map_location)


def extract_state_dict(checkpoint: Any, name: str | os.PathLike) -> dict[str, Tensor]:
    """Returns the state dict in a checkpoint.

    Args:
        checkpoint: ``{'state_dict': ..., ...}``, the state dict under another of :data:`WEIGHT_KEYS`, or the state dict
            itself.
        name: The file it came from, for the error.

    Returns:
        The state dict, without the ``module.`` that a distributed wrapper puts before all keys. Versions of
        the modules (``_metadata``) are kept.

    Raises:
        UserError: If there is none, if there are several under other keys than ``state_dict``, or if a value is not
            finite, as after a training that has diverged.
    """
    state_dict = _find_state_dict(checkpoint, name)
    check_finite(state_dict, name, 'the training has diverged; give an earlier checkpoint, or train anew with a lower '
                 'learning rate')
    if not all(key.startswith('module.') for key in state_dict):
        return state_dict
    plain = OrderedDict((key.removeprefix('module.'), value) for key, value in state_dict.items())
    if hasattr(state_dict, '_metadata'):
        plain._metadata = OrderedDict((re.sub(r'^module(\.|$)', '', key), value)
                                      for key, value in state_dict._metadata.items())
    return plain


def _find_state_dict(checkpoint: Any, name: str | os.PathLike) -> dict[str, Tensor]:
    held = checkpoint if isinstance(checkpoint, dict) else {}
    if 'state_dict' in held:
        held = {'state_dict': held['state_dict']}
    elif _is_state_dict(held):
        return held
    found = [key for key in WEIGHT_KEYS if _is_state_dict(held.get(key))]
    if len(found) == 1:
        return held[found[0]]
    if found:
        raise UserError(f'{name}: holds several sets of weights ({", ".join(found)}); save the one that is meant as '
                        "{'state_dict': ...}")
    raise UserError(f'{name}: holds no weights; give a checkpoint with a state dict')


def _is_state_dict(value: Any) -> bool:
    return (isinstance(value, dict) and all(isinstance(key, str) for key in value)
            and any(isinstance(part, Tensor) for part in value.values()))


def check_finite(state_dict: dict[str, Tensor], name: str | os.PathLike, hint: str) -> None:
    """Refuses weights that are not finite.

    Args:
        state_dict: The weights.
        name: The file they came from, for the error.
        hint: What the error tells the user to do.

    Raises:
        UserError: If a value is NaN or infinite.
    """
    bad = [key for key, value in state_dict.items()
           if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise UserError(f'{name}: {_count("with values that are not finite", bad)}; {hint}')


def load_state_dict_strict(model: nn.Module, state_dict: dict[str, Tensor], name: str | os.PathLike, *,
                           ignore: tuple[str, ...] = (), hint: str = 'this is the checkpoint of another model, '
                           'or of another class list; use the config it was trained with') -> None:
    """Loads a state dict that must fit key by key.

    ``num_batches_tracked`` of BatchNorm may be missing: files from before PyTorch 0.4.1 and from Caffe lack
    it, and it matters only to a BatchNorm without momentum. Values are cast to the model's type.

    Args:
        model: The model. After an error it may be partly loaded.
        state_dict: The weights.
        name: The file they came from, for the error.
        ignore: Patterns (:func:`re.search`) of keys that the model need not have.
        hint: What the error tells the user to do.

    Raises:
        UserError: If a key is missing, unexpected or of another shape.
    """
    own = model.state_dict()
    reshaped = [f'{key} {tuple(state_dict[key].shape)} instead of {tuple(own[key].shape)}' for key in own
                if isinstance(own[key], Tensor) and isinstance(state_dict.get(key), Tensor)
                and own[key].shape != state_dict[key].shape]
    reshaped += [f'{key} is no tensor' for key in own
                 if isinstance(own[key], Tensor) and not isinstance(state_dict.get(key, own[key]), Tensor)]
    if reshaped:
        raise UserError(f'{name}: {_count("of another shape", reshaped)}; {hint}')
    # Asking torch, not comparing keys: modules may rename keys of older versions while they load.
    missing, unexpected = model.load_state_dict(state_dict, strict=False)
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    unexpected = [key for key in unexpected if not any(re.search(pattern, key) for pattern in ignore)]
    faults = [_count(what, keys) for what, keys in (('missing', missing), ('unexpected', unexpected)) if keys]
    if faults:
        raise UserError(f'{name}: {", ".join(faults)}; {hint}')


def _count(what: str, keys: list[str], limit: int = 3) -> str:
    more = ', ...' if len(keys) > limit else ''
    return f'{len(keys)} {"key" if len(keys) == 1 else "keys"} {what} ({", ".join(keys[:limit])}{more})'


def trained_classes(checkpoint: Any) -> tuple[str, ...]:
    """Returns the class names of the data that a checkpoint was trained on; none where it does not tell."""
    for key in ('meta', 'dataset_meta', 'classes'):
        checkpoint = checkpoint.get(key) if isinstance(checkpoint, dict) else None
    return tuple(checkpoint) if isinstance(checkpoint, (list, tuple)) else ()


def load_weights_strict(model: nn.Module, path: str | os.PathLike) -> dict:
    """Loads the weights of a checkpoint for inference; they must fit the model key by key.

    A model that has parts for its training only (one with a method ``drop_training_parts``, which returns patterns of
    their keys) loses them: they are neither loaded nor asked for.

    Args:
        model: The model, or its distributed wrapper.
        path: A file, or a url that ``CheckpointLoader`` knows.

    Returns:
        The checkpoint, as it was loaded on the CPU.

    Raises:
        UserError: If the checkpoint cannot be loaded (:func:`load_checkpoint_file`), or if a key is missing,
            unexpected or of another shape.
    """
    checkpoint = load_checkpoint(path)
    model = model.module if is_model_wrapper(model) else model
    ignore = model.drop_training_parts() if hasattr(model, 'drop_training_parts') else ()
    load_state_dict_strict(model, extract_state_dict(checkpoint, path), path, ignore=ignore)
    return checkpoint


def export_part(src: str | os.PathLike, dst: str | os.PathLike, part: str) -> int:
    """Writes the weights of a part of a model as a checkpoint of its own, with the class names of the data.

    Args:
        src: Checkpoint of the model.
        dst: File to write.
        part: Name of the part, e.g. ``'main_net'`` of ``PixelSelfSupervision``.

    Returns:
        The number of keys that were written.

    Raises:
        UserError: If the checkpoint cannot be loaded, has no key of this part, or would be overwritten.
    """
    if os.path.exists(src) and os.path.exists(dst) and os.path.samefile(src, dst):
        raise UserError(f'{dst}: is the checkpoint of the whole model; give another file to write')
    checkpoint = load_checkpoint_file(src)
    prefix = f'{part}.'
    state_dict = OrderedDict((key.removeprefix(prefix), value.clone())  # without the storage it may be a view of
                             for key, value in extract_state_dict(checkpoint, src).items() if key.startswith(prefix))
    if not state_dict:
        raise UserError(f'{src}: no key starts with {prefix!r}; name a part of the model')
    buffer = io.BytesIO()  # of a full disk torch.save gives no OSError, and it writes a file's name into the file
    torch.save(dict(state_dict=state_dict, meta=dict(dataset_meta=dict(classes=trained_classes(checkpoint)))), buffer)
    Path(dst).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(dst, buffer.getvalue())
    return len(state_dict)


def find_latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Returns the checkpoint that a work folder's ``last_checkpoint`` names.

    Where there is no such file or checkpoint: the ``epoch_N.pth`` or ``iter_N.pth`` of the largest N, or ``None``.
    Checkpoints are written atomically, so what is there is whole.
    """
    named = Path(work_dir) / 'last_checkpoint'
    if named.is_file():
        # By name in this folder, which may have been moved since.
        path = Path(work_dir) / Path(named.read_text().strip()).name
        if path.is_file():
            return path
    found = [(int(match[1]), path) for path in Path(work_dir).glob('*.pth')
             if (match := re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', path.name))]
    return max(found)[1] if found else None
