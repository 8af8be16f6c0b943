"""How pseudo labels are made of CAMs, from the few options of a command line."""
from typing import Any

from mmwsss.postprocessing.background import AUTO, NO_BACKGROUND
from mmwsss.postprocessing.defaults import DEFAULT_BACKGROUND, DEFAULT_CRF_BACKGROUND, DEFAULT_CRF_UNARY
from mmwsss.postprocessing.dense_crf import CRF_PRESETS
from mmwsss.utils.errors import UserError


def label_options(threshold: float | str | None = None, alpha: float | None = None, crf: bool = False,
                  crf_unary: str | None = None, no_background: bool = False) -> dict[str, Any]:
    """Returns the settings that make pseudo labels.

    Args:
        threshold: Constant background score; ``'auto'``: one that is chosen from the CAMs; ``None``: the default.
        alpha: Exponent of the background score (1 - highest map)^alpha, in place of a threshold.
        crf: Refine with a dense CRF.
        crf_unary: A key of :data:`~mmwsss.postprocessing.dense_crf.CRF_PRESETS`: what the CRF starts from; ``None``:
            the default.
        no_background: Every pixel is of a class.

    Returns:
        ``background`` and ``postprocessors``, see :func:`mmwsss.apis.pseudo_label.make_pseudo_label`.

    Raises:
        UserError: If ``crf_unary`` is given without ``crf``.
    """
    if crf_unary and not crf:
        raise UserError('--crf-unary says how --crf works: give --crf too')
    unary = crf_unary or DEFAULT_CRF_UNARY
    background = DEFAULT_CRF_BACKGROUND[unary] if crf else DEFAULT_BACKGROUND
    if no_background:
        background = {'type': NO_BACKGROUND}
    elif threshold == AUTO:
        background = {'type': AUTO}
    elif threshold is not None:
        background = {'type': 'constant', 'threshold': threshold}
    elif alpha is not None:
        background = {'type': 'power', 'alpha': alpha}
    return {'background': background, 'postprocessors': [{'type': 'DenseCRF', **CRF_PRESETS[unary]}] if crf else []}
