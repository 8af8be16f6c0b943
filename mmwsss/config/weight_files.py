"""What of a config decides a result: weights by what is in their files, wherever these lie."""
import os
from pathlib import Path
from typing import Any

from mmwsss.utils.fileio import sha256_of_file, sha256_of_json

# Settings that name a file of weights, or a folder of them, such as transformers writes.
WEIGHTS = ('checkpoint', 'load_from', 'embeddings', 'model')


def with_weights(node: Any) -> Any:
    """Replaces the files and folders of weights in a config by digests of their content.

    Args:
        node: A config, or a part of one.

    Returns:
        Dicts, lists and values. Names of weights that are no local file stay as they are; where features are cached
        (``cache_dir``) is left out.
    """
    return _replaced(node, None, with_init=True)


def model_as_tested(model: dict[str, Any]) -> dict[str, Any]:
    """Returns what of a model's config decides its outputs with given weights, as :func:`with_weights` does.

    How the model was initialised before its training does not count (``init_cfg``), but for second networks of
    inference hooks, which are in no checkpoint.
    """
    return _replaced(model, None, with_init=False)


def _replaced(node: Any, name: str | None, with_init: bool) -> Any:
    if isinstance(node, dict):
        return {key: _replaced(value, key, with_init or key == 'inference_hooks') for key, value in node.items()
                if key != 'cache_dir' and (with_init or key != 'init_cfg')}
    if isinstance(node, (list, tuple)):
        return [_replaced(item, None, with_init) for item in node]
    if name in WEIGHTS and isinstance(node, (str, os.PathLike)):
        if os.path.isfile(node):
            return sha256_of_file(node)
        if os.path.isdir(node):
            return sha256_of_json({path.name: sha256_of_file(path) for path in Path(node).iterdir() if path.is_file()})
    return node
