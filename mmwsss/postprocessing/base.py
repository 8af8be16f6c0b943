"""The contract of post-processors: ``(ScoreMap, image) -> ScoreMap``."""
import inspect
from collections.abc import Callable, Sequence

import numpy as np

from mmwsss.registry import POSTPROCESSORS
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError

# A post-processor takes the scores of one image and the image itself, uint8 [H, W, 3] in RGB, and
# returns new scores of the same classes and size. It changes neither argument, keeps nothing from
# one image to the next and can be pickled: it runs in worker processes, in any order.
# One that has something to prepare for an image may also have ``on_image(image)``, which returns the
# function ``ScoreMap -> ScoreMap`` for that image.
Postprocessor = Callable[[ScoreMap, np.ndarray], ScoreMap]


def on_image(postprocessors: Sequence[Postprocessor], image: np.ndarray) -> Callable[[ScoreMap], ScoreMap]:
    """Returns a function that applies post-processors in their order to score maps of one image.

    What a post-processor prepares for the image, such as the lattices of a CRF, is done once for all score maps.
    """
    prepared = [postprocessor.on_image(image) if hasattr(postprocessor, 'on_image')
                else lambda score_map, postprocessor=postprocessor: postprocessor(score_map, image)
                for postprocessor in postprocessors]

    def run(score_map: ScoreMap) -> ScoreMap:
        for postprocess in prepared:
            score_map = postprocess(score_map)
        return score_map

    return run


def build_postprocessor(config: dict) -> Postprocessor:
    """Builds a post-processor from its config.

    Args:
        config: ``dict(type=<name in POSTPROCESSORS>, <arguments>)``.

    Raises:
        UserError: If the type is missing or not registered, an argument is unknown or missing, or
            an optional dependency of the post-processor is not installed.
    """
    if not isinstance(config, dict) or not isinstance(config.get('type'), str):
        raise UserError(f'postprocessors: each entry must be dict(type=<name>, ...), got {config!r}')
    name = config['type']
    try:
        factory = POSTPROCESSORS.get(name)
    except RuntimeError:  # a dotted name whose module cannot be imported
        factory = None
    if factory is None:
        raise UserError(f'postprocessors: {name!r} is not registered (is its module in custom_imports?); '
                        f'registered are {", ".join(sorted(POSTPROCESSORS.module_dict))}')
    arguments = {key: value for key, value in config.items() if key not in ('type', '_scope_')}
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise UserError(f'postprocessors: {name} {error}') from error
    return POSTPROCESSORS.build(dict(config))


def build_postprocessors(configs: Sequence[dict]) -> list[Postprocessor]:
    """Builds post-processors from their configs, in the order in which they run."""
    if isinstance(configs, dict) or not isinstance(configs, Sequence):
        raise UserError(f'postprocessors must be a list of configs, got {configs!r}')
    return [build_postprocessor(config) for config in configs]


def check_image(score_map: ScoreMap, image: np.ndarray) -> None:
    """Checks that an image fits its scores.

    Raises:
        UserError: If the image is not uint8 [H, W, 3], or its size is not the one of the scores.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f'the image must be uint8 [H, W, 3], got {image.dtype} {list(image.shape)}')
    if image.shape[:2] != score_map.scores.shape[1:]:
        raise UserError(f'the image has size {image.shape[:2]} (height, width), its scores '
                        f'{score_map.scores.shape[1:]}: are they of the same image?')
