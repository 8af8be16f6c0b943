"""Converting a checkpoint file of an original repository into one of mmwsss."""
import io
import sys
from pathlib import Path
from typing import Any

import torch

from mmwsss.converters import SOURCES, Conversion, convert, load_torch_weights
from mmwsss.datasets.layout import read_text
from mmwsss.datasets.voc_devkit import VOC_CLASSES
from mmwsss.engine.checkpoint import extract_state_dict
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes


def convert_file(source_name: str, src: Path, dst: Path, classes_file: Path | None = None,
                 trust_pickle: bool = False) -> tuple[Conversion, str]:
    """Converts a checkpoint file.

    Args:
        source_name: What ``src`` is, a key of :data:`mmwsss.converters.SOURCES`.
        src: The original file.
        dst: Checkpoint to write.
        classes_file: Names of the foreground classes, one a line; ``None``: the 20 of PASCAL VOC.
        trust_pickle: Unpickle ``src`` even if it holds other Python objects than tensors, which runs code from it.

    Returns:
        What became of every key, and what the source is called.

    Raises:
        UserError: If ``src`` cannot be read or has other keys or another number of classes than it should, or an
            option does not fit the source.
    """
    source = SOURCES[source_name]
    if trust_pickle and source.load is not load_torch_weights:
        raise UserError(f'--trust-pickle: a file of {source_name} is no pickle; leave the option out')
    if dst.exists() and src.exists() and dst.samefile(src):
        raise UserError(f'{dst}: is the original; give another DST')
    conversion = convert(source, unpickle(src) if trust_pickle else source.load(src), src)
    checkpoint: dict[str, Any] = dict(state_dict=conversion.state_dict, meta={})
    if conversion.num_classes is not None:
        names = class_names(conversion.num_classes, classes_file, src)
        checkpoint['meta'] = dict(dataset_meta=dict(classes=names))
    elif classes_file:
        raise UserError(f'--classes-file: {source_name} has no classes; leave the option out')
    buffer = io.BytesIO()  # of a full disk torch.save gives no OSError, and it writes a file's name into the file
    torch.save(checkpoint, buffer)
    dst.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(dst, buffer.getvalue())
    return conversion, source.title


def unpickle(path: Path) -> dict[str, torch.Tensor]:
    """Returns the state dict of any file that ``torch.save`` has written, by running the code in it."""
    if not path.is_file():
        raise UserError(f'{path}: no such checkpoint file; check the path')
    print(f'{path}: unpickled because of --trust-pickle, which runs code from the file', file=sys.stderr)
    try:
        content: Any = torch.load(path, map_location='cpu', weights_only=False)
    except Exception as error:  # what the code in the file may raise
        raise UserError(f'{path}: cannot be unpickled ({type(error).__name__}: {error}); copy it again, or convert it '
                        'where the code of its repository can be imported') from error
    if isinstance(content, torch.nn.Module):
        content = content.state_dict()
    return extract_state_dict(content, path)


def class_names(num_classes: int, path: Path | None, src: Path) -> tuple[str, ...]:
    """Returns the names for ``num_classes`` classes, from a file or those of VOC."""
    if path is None:
        if num_classes != len(VOC_CLASSES):
            raise UserError(f'{src}: has {num_classes} classes, so they are not those of PASCAL VOC; name them with '
                            '--classes-file')
        return VOC_CLASSES
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if len(names) != num_classes or len(set(names)) < len(names):
        raise UserError(f'{path}: must name the {num_classes} foreground classes of {src}, one a line and each once, '
                        f'but has {len(names)} lines ({len(set(names))} different)')
    return names
