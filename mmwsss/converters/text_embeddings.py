"""Names of classes to text embeddings of CLIP, for :class:`mmwsss.models.TextCAMHead`."""
import io
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes

# CLIP-ES's prompt, which it found best on VOC, and its background: what VOC's objects stand in front of.
TEMPLATES = ('a clean origami {}.',)
BACKGROUND = ('ground', 'land', 'grass', 'tree', 'building', 'wall', 'sky', 'lake', 'water', 'river', 'sea', 'railway',
              'railroad', 'keyboard', 'helmet', 'cloud', 'house', 'mountain', 'ocean', 'road', 'rock', 'street',
              'valley', 'bridge', 'sign')


@torch.no_grad()
def embed_texts(model: str | os.PathLike, texts: Sequence[Sequence[str]], templates: Sequence[str]) -> Tensor:
    """Computes CLIP's embedding of every text: the mean direction over its synonyms and the templates.

    Args:
        model: Local folder of a CLIP of Hugging Face (weights and tokenizer), or its name on the hub.
        texts: For every text its synonyms, at least one.
        templates: Sentences with ``{}`` where a synonym goes.

    Returns:
        K x D, float32, rows of norm one.

    Raises:
        UserError: If transformers is not installed, or the model cannot be loaded.
    """
    from mmwsss.models.backbones.hf_models import import_transformers

    transformers = import_transformers()
    from safetensors import SafetensorError
    try:
        folder = os.path.expanduser(model)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if hasattr(config, 'text_config'):
            config.text_config.projection_dim = config.projection_dim
            config = config.text_config
        network, info = transformers.CLIPTextModelWithProjection.from_pretrained(
            folder, config=config, weights_only=True, output_loading_info=True, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, pickle.UnpicklingError,
            SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f'{model}: the text model of a CLIP cannot be loaded ({reason}); give a folder with its '
                        'config.json, model.safetensors and tokenizer files') from error
    if info['missing_keys']:
        raise UserError(f'{model}: has no text model of CLIP, {sorted(info["missing_keys"])[0]} is missing; give the '
                        'folder of a whole CLIP')
    network.eval()
    rows = []
    for synonyms in texts:
        sentences = [template.format(name) for name in synonyms for template in templates]
        tokens = tokenizer(sentences, padding=True, truncation=True, return_tensors='pt',
                           max_length=network.config.max_position_embeddings)
        inputs = {key: tokens[key] for key in ('input_ids', 'attention_mask')}
        embeddings = F.normalize(network(**inputs).text_embeds.float(), dim=1)
        rows.append(F.normalize(embeddings.mean(dim=0), dim=0))
    return torch.stack(rows)


def make_text_embeddings(model: str | os.PathLike, classes: Sequence[str | Sequence[str]], out: str | os.PathLike,
                         background: Sequence[str] = BACKGROUND,
                         templates: Sequence[str] = TEMPLATES) -> tuple[int, int]:
    """Writes the file that :class:`mmwsss.models.TextCAMHead` reads.

    Args:
        model: Local folder of a CLIP of Hugging Face, or its name on the hub; that of the backbone.
        classes: The names of the classes in the order of the data's class list; for a class also several synonyms.
        out: ``.npy`` file to write, float32 K x D: the classes, then the background prompts.
        background: Prompts for the background; may be empty.
        templates: Sentences with ``{}`` where a name goes.

    Returns:
        (K, D).

    Raises:
        UserError: For no class, an empty name, a template without ``{}``, a file of another kind, or a model that
            cannot be loaded.
    """
    texts = [(entry,) if isinstance(entry, str) else tuple(entry) for entry in (*classes, *background)]
    if not classes or any(not names or not all(name.strip() for name in names) for names in texts):
        raise UserError('text embeddings: give at least one class, and no empty name')
    if not templates or any('{}' not in template for template in templates):
        raise UserError(f'text embeddings: a template has {{}} where the name goes, got {tuple(templates)}')
    if Path(out).suffix != '.npy':
        raise UserError(f'{out}: text embeddings are written to a .npy file; name one')
    embeddings = embed_texts(model, texts, templates)
    buffer = io.BytesIO()
    np.save(buffer, embeddings.numpy(), allow_pickle=False)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, buffer.getvalue())
    return tuple(embeddings.shape)
