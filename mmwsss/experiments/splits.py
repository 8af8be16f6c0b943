"""The lists of images that pipelines and studies need."""
from collections.abc import Sequence
from pathlib import Path

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.datasets.layout import SPLIT_FOLDERS, find_split
from mmwsss.utils.errors import UserError


def check_splits(data: DataFolder, splits: Sequence[str], who: str) -> None:
    """Refuses a data set without any list of images where some are needed; says where they belong.

    A single training takes all images of such a folder. A pipeline does not, as its segmentor would be evaluated on the
    images that it was trained on. Where some lists are there, whoever misses another one says so.

    Args:
        data: The data set.
        splits: Names of the splits that are needed, or paths of lists.
        who: Who needs them, for the message.

    Raises:
        UserError: If there is no list, and a split is not there.
    """
    if data.splits():
        return
    missing = [split for split in splits if not _is_there(data.root, split)]
    if missing:
        # A path is the user's own, the name of a split a file of the data set.
        files = [split if split.endswith('.txt') else str(Path(data.root, SPLIT_FOLDERS[0], f'{split}.txt'))
                 for split in missing]
        raise UserError(f'{data.root}: has no lists of images, but {who} needs the split{"s" * (len(missing) > 1)} '
                        f'{" and ".join(missing)}; write the names of the images, one a line, into '
                        f'{" and ".join(files)} (docs/data.md, "Splits", has lines that do it)')


def _is_there(root: Path, split: str) -> bool:
    try:
        find_split(root, split)
    except UserError:
        return False
    return True
