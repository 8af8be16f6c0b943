"""Hugging Face vision models without surprises: built from a config, loaded to the last key, no code of a hub's."""
import contextlib
import copy
import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from torch import nn

from mmwsss.utils.errors import UserError

# Transformers of one stride whose tokens are laid out as special tokens first, then the patches by rows. What
# transformers calls AutoBackbone has no class for some of them, and gives no special tokens for the others.
TOKEN_MODELS = ('vit', 'deit', 'dinov2', 'dinov2_with_registers', 'dinov3_vit', 'clip_vision_model',
                'siglip_vision_model')
# Options of AutoModel that leave out what only classifies or pools.
_WITHOUT_POOLER = ('vit', 'deit')
# Convolutions without padding: what is left of an image beyond a multiple of the last stage's stride is not seen.
_WHOLE_PATCHES = {'convnext': 32, 'convnextv2': 32, 'dinov3_convnext': 32, 'focalnet': 32}
# Parts that a pretrained model need not have: they are the identity at first, or not used.
_NOT_PRETRAINED = ('hidden_states_norms.', 'mask_token', 'num_batches_tracked')
NORM_NAMES = ('layernorm', 'norm', 'post_layernorm')


def import_transformers() -> ModuleType:
    """Imports the package.

    Raises:
        UserError: If it is not installed, or is older than version 5.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(f'HFBackbone needs transformers ({error}); pip install "mmwsss[transformers]"') from error
    if int(transformers.__version__.split('.')[0]) < 5:
        raise UserError(f'HFBackbone needs transformers 5, but {transformers.__version__} is installed; '
                        'pip install "mmwsss[transformers]"')
    return transformers


@contextlib.contextmanager
def without_progress_bar() -> Iterator[None]:
    """Switches off the bar that transformers draws while it loads weights, and restores the setting afterwards.

    In a pipeline it would be drawn into the line of the running stage. The bar of a download is kept.
    """
    from huggingface_hub import utils as hub
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    is_hub_silent = hub.are_progress_bars_disabled()
    set_hub = hub.disable_progress_bars if is_hub_silent else hub.enable_progress_bars
    logging.disable_progress_bar()  # also those of the hub
    set_hub()
    try:
        yield
    finally:
        logging.enable_progress_bar()
        set_hub()


def read_config(model: str | None, config: dict | None) -> 'PreTrainedConfig':  # noqa: F821
    """Reads the config of a vision model, that of the vision tower where the model has two.

    Args:
        model: Local folder or name on the hub; ``None``: everything is in ``config``.
        config: Settings with ``model_type`` in Hugging Face's words; with ``model`` they replace some of its own.

    Returns:
        A config of its own, to be changed at will.

    Raises:
        UserError: If there is no config, or it is broken, of an unknown type, or of code that the hub delivers.
    """
    transformers = import_transformers()
    given = dict(config or {})
    if model is None:
        kind = given.pop('model_type', None)
        if kind not in transformers.CONFIG_MAPPING:
            raise UserError(f'HFBackbone: config.model_type={kind!r} is not known to transformers; give one such as '
                            "'dinov2', 'vit', 'swin', or the folder of a model as `model`")
        loaded = transformers.CONFIG_MAPPING[kind]()
    else:
        path = os.path.expanduser(model)
        if not Path(path).is_dir() and (os.path.isabs(path) or model.startswith(('.', '~')) or model.count('/') > 1):
            raise UserError(f'{model}: no such folder; give the folder of a Hugging Face model, or its name on the hub')
        try:
            loaded = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f'{model}: the config of a Hugging Face model cannot be read ({_first_line(error)}); give '
                            'a folder with a config.json, or a name on the hub and a connection to it') from error
        if hasattr(loaded, 'vision_config'):
            if hasattr(loaded, 'projection_dim'):
                loaded.vision_config.projection_dim = loaded.projection_dim
            loaded = loaded.vision_config
        kind = given.pop('model_type', loaded.model_type)
        if kind != loaded.model_type:
            raise UserError(f'{model}: is of model_type {loaded.model_type!r}, config names {kind!r}; leave it out')
    known = set(type(loaded)().to_dict()) | set(loaded.attribute_map)
    if unknown := sorted(set(given) - known):
        raise UserError(f'HFBackbone: config.{unknown[0]} is no setting of {type(loaded).__name__}; its settings are '
                        'in the documentation of transformers')
    # Anew, since names of stages and the like are derived; those to return are chosen later.
    settings = {key: value for key, value in loaded.to_dict().items()
                if key not in ('stage_names', 'out_indices', 'out_features')}
    return type(loaded).from_dict({**settings, **given})


def is_token_model(config: 'PreTrainedConfig') -> bool:  # noqa: F821
    """Tells whether a model is a transformer of one stride whose tokens we lay out ourselves."""
    return config.model_type in TOKEN_MODELS


def stage_names(config: 'PreTrainedConfig') -> list[str]:  # noqa: F821
    """Returns the names of the stages: for a transformer of one stride its patch embedding and every block."""
    if is_token_model(config):
        return ['stem', *(f'stage{i + 1}' for i in range(config.num_hidden_layers))]
    return list(getattr(config, 'stage_names', None) or [])


def size_divisor(config: 'PreTrainedConfig') -> int:  # noqa: F821
    """Returns what the sides of an image must be multiples of, so that the model sees all of it."""
    if is_token_model(config) or config.model_type == 'beit':
        patch = config.patch_size
        return patch if isinstance(patch, int) else max(patch)
    return _WHOLE_PATCHES.get(config.model_type, 1)


def build(config: 'PreTrainedConfig', project: bool, attentions: bool) -> nn.Module:  # noqa: F821
    """Builds a model with random weights.

    Args:
        config: From :func:`read_config`; ``out_indices`` is set where the model is no token model.
        project: CLIP only: with the projection to the space of the text embeddings.
        attentions: Compute attention in the way that can give its weights.

    Raises:
        UserError: If the model cannot serve as a backbone.
    """
    transformers = import_transformers()
    options = dict(attn_implementation='eager') if attentions else {}
    if project:
        if config.model_type != 'clip_vision_model':
            raise UserError(f'HFBackbone: project=True is for CLIP, not for {config.model_type!r}; leave it out')
        return transformers.CLIPVisionModelWithProjection._from_config(config, **options)
    if is_token_model(config):
        if config.model_type == 'siglip_vision_model':
            config.vision_use_head = False
        if config.model_type in _WITHOUT_POOLER:
            options['add_pooling_layer'] = False
        return transformers.AutoModel.from_config(config, **options)
    try:
        return transformers.AutoBackbone.from_config(config, **options)
    except (ValueError, ImportError) as error:
        raise UserError(f'HFBackbone: {config.model_type!r} cannot be used as a backbone ({_first_line(error)}); the '
                        f'models are those of AutoBackbone and {", ".join(TOKEN_MODELS)}') from error


def load_weights(model: nn.Module, source: str) -> None:
    """Loads pretrained weights; every part of the model must be in the file.

    Safetensors, or PyTorch's format with ``weights_only=True``. Backbones of transformers have LayerNorms of their
    own behind the stages (``hidden_states_norms``), which begin as the identity.

    Args:
        model: From :func:`build`; changed in place.
        source: Local folder or name on the hub.

    Raises:
        UserError: If the file is missing, broken, or lacks a part of the model.
    """
    from safetensors import SafetensorError

    options = dict(add_pooling_layer=False) if model.config.model_type in _WITHOUT_POOLER else {}
    try:
        with without_progress_bar():
            loaded, info = type(model).from_pretrained(
                os.path.expanduser(source), config=copy.deepcopy(model.config), output_loading_info=True,
                weights_only=True, dtype=model.dtype, ignore_mismatched_sizes=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        raise UserError(f'{source}: the weights of {type(model).__name__} cannot be loaded ({_first_line(error)}); '
                        'give a folder with model.safetensors, or a name on the hub and a connection to it') from error
    faults = [key for key in info['missing_keys'] if not any(name in key for name in _NOT_PRETRAINED)]
    faults += [entry if isinstance(entry, str) else f'{entry[0]} (another shape)'
               for entry in sorted(info['mismatched_keys'], key=str)]
    if faults:
        raise UserError(f'{source}: {len(faults)} weights of {type(model).__name__} are missing or of another shape, '
                        f'such as {sorted(faults)[0]}; these are the weights of another model')
    model.load_state_dict(loaded.state_dict())


@dataclass(frozen=True)
class Normalization:
    """How a network wants its input: (x - mean) / std of RGB values from 0 to 255."""
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_normalization(model: str) -> Normalization | None:
    """Reads the normalisation from ``preprocessor_config.json`` (or ``processor_config.json``) beside the weights.

    Args:
        model: Local folder or name on the hub.

    Returns:
        The normalisation; ``None`` where there is no such file or it does not tell.

    Raises:
        UserError: If the file is broken.
    """
    from transformers.utils import cached_file

    for name in ('preprocessor_config.json', 'processor_config.json'):
        try:
            path = cached_file(os.path.expanduser(model), name, _raise_exceptions_for_missing_entries=False,
                               _raise_exceptions_for_connection_errors=False)
        except OSError:
            path = None
        if path is None:
            continue
        try:
            settings = json.loads(Path(path).read_text(encoding='utf-8'))
            settings = settings.get('image_processor', settings)
            scale = 1 / settings.get('rescale_factor', 1 / 255) if settings.get('do_rescale', True) else 1.0
            if not settings.get('do_normalize', True):
                return Normalization((0.0,) * 3, (scale,) * 3)
            mean, std = settings.get('image_mean'), settings.get('image_std')
            if mean is not None and std is not None:
                return Normalization(tuple(float(x) * scale for x in mean), tuple(float(x) * scale for x in std))
        except (ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise UserError(f'{path}: broken ({_first_line(error)}); copy or download it again') from error
    return None


def find_layers(model: nn.Module, count: int) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
    """Finds the blocks (or stages) of a model, and what comes before and after them.

    Args:
        model: A model.
        count: Number of its blocks; the first ModuleList of this length holds them.

    Returns:
        Modules before the blocks, the blocks, modules after them; together they are the model, but for parameters
        that belong to a module around the blocks directly.
    """
    path = next((name for name, module in model.named_modules()
                 if isinstance(module, nn.ModuleList) and len(module) == count), None)
    if path is None:
        raise UserError(f'HFBackbone: {type(model).__name__} has no list of {count} blocks; it cannot be used')
    before, after, parent = [], [], model
    for step in path.split('.'):
        children = list(parent.named_children())
        at = [name for name, _ in children].index(step)
        before += [module for _, module in children[:at]]
        after = [module for _, module in children[at + 1:]] + after
        parent = getattr(parent, step)
    return before, list(parent), after


def find_part(model: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """Returns the first module, outermost first, whose own name is one of ``names``."""
    found = [(path.count('.'), module) for path, module in model.named_modules() if path.split('.')[-1] in names]
    return min(found, key=lambda item: item[0])[1]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
