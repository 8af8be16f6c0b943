"""Masks whose numbers are not what they are taken for, which no single mask shows."""
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmwsss.structures.label_file import IGNORE
from mmwsss.utils.errors import UserError


def check_mask_classes(classes: Sequence[str], source: Any, advice: str = 'use fewer') -> None:
    """Refuses more classes than a mask can tell apart.

    Args:
        classes: The foreground classes.
        source: Where they come from, for the error.
        advice: What to do about it, for the error.

    Raises:
        UserError: If there are more than 254.
    """
    if len(classes) >= IGNORE:
        raise UserError(f'{source}: has {len(classes)} classes, but an 8-bit mask can hold {IGNORE - 1}; {advice}')


def check_masks_there(without: Sequence[str], mask_dir: Any) -> None:
    """Refuses images without a mask.

    Args:
        without: Such images.
        mask_dir: Folder of the masks, for the error.

    Raises:
        UserError: If there are any.
    """
    if without:
        more = f' and {len(without) - 3} more' if len(without) > 3 else ''
        raise UserError(f'{mask_dir}: no mask for {", ".join(without[:3])}{more}; add them, or leave such images out '
                        "with missing_mask='skip'")


def check_not_binary(ids: Mapping[str, Collection[int]]) -> None:
    """Refuses masks of which all have no other numbers than 0 and 255, some of them 255.

    That is how most tools write the mask of a single class. Read as labels, every object would be ignored: nothing
    could be wrong, and an evaluation would say 100 %.

    Args:
        ids: Path of a mask -> the numbers in it.

    Raises:
        UserError: If they are of that kind.
    """
    found = set().union(*ids.values())
    if IGNORE in found and found <= {0, IGNORE} and any(0 in numbers for numbers in ids.values()):
        path = next(path for path, numbers in ids.items() if IGNORE in numbers)
        raise UserError(f'{Path(path).parent}: the masks hold only 0 and {IGNORE}, and {IGNORE} stands for "ignore", '
                        f'so there is no object in them (e.g. {Path(path).name}); where {IGNORE} marks the class, say '
                        f'so with mask_values={{{IGNORE}: 1}} (--mask-values {IGNORE}=1)')


def unlike_labels(shown: Mapping[str, Iterable[str]], labels: Mapping[str, Iterable[str] | None]) -> list[str]:
    """Returns the images whose mask shows other classes than their image-level label names.

    Args:
        shown: Image -> names of the classes in its mask.
        labels: Image -> class names of its label; ``None``, or nothing: it has none.
    """
    return [stem for stem, names in shown.items()
            if labels.get(stem) is not None and set(names) != set(labels[stem])]


def report_disagreement(shown: Mapping[str, Iterable[str]], labels: Mapping[str, Iterable[str] | None],
                        mask_dir: Any) -> float:
    """Compares masks with image-level labels over a whole data set, and logs how many do not agree.

    A few may lack a tiny object. Many tell that the numbers in the masks are not those of the class list: of a palette
    that differs from mask to mask, counted without background, or of another list.

    Args:
        shown: See :func:`unlike_labels`.
        labels: See :func:`unlike_labels`.
        mask_dir: Folder of the masks, for the message.

    Returns:
        The share of the images with a mask and a label that do not agree, 0 where there is none of these.
    """
    compared = [stem for stem in shown if labels.get(stem) is not None]
    unlike = unlike_labels(shown, labels)
    if not unlike:
        return 0.0
    first = unlike[0]
    share = len(unlike) / len(compared)
    print_log(f'{mask_dir}: the masks of {len(unlike)} of {len(compared)} images ({share:.1%}) show other classes '
              f'than the image-level labels say, e.g. {first}: {_names(shown[first])} in the mask, '
              f'{_names(labels[first])} in the label. Check the order of the class list, and what the numbers in the '
              'masks stand for (mask_values)', 'current', level=logging.WARNING)
    return share


def _names(names: Iterable[str]) -> str:
    return ', '.join(sorted(names)) or 'none'


def class_names(ids: Iterable[int], classes: Sequence[str]) -> list[str]:
    """Returns the names of the classes among the numbers in a mask; one that has none is named by its number."""
    return [classes[i - 1] if i <= len(classes) else f'number {i}' for i in sorted(set(ids) - {0, IGNORE})]
