"""Importing OpenMMLab's packages without what they say of things that no user of mmwsss can change."""
import contextlib
import importlib
import io
import warnings
from types import ModuleType

from mmwsss.utils.versions import SUPPORTED, check_stack

# mmseg prints it for each of two packages when the SDK of a commercial service is not installed.
UNWANTED_LINES = frozenset({'Could not import OneDL'})

# (start of the message, category, module): Python's warnings.
# At the import: mmwsss needs no compiled operator of mmcv.
UNWANTED_AT_IMPORT = (
    ('Fail to import ``MultiScaleDeformableAttention``', UserWarning, r'mmcv\.cnn\.bricks\.transformer'),
)
# While a Runner works.
UNWANTED_IN_RUNS = (
    # MMEngine sets it to 1 itself, in every process of a distributed run.
    (r'Setting (OMP|MKL)_NUM_THREADS environment variable', UserWarning, r'mmengine\.utils\.dl_utils\.setup_env'),
    # A depthwise convolution's weights (C x 1 x h x w): the two strides mean the same layout. Of other weights it would
    # tell of wrong gradients, see ChannelsLastHook.
    (r'Grad strides do not match bucket view strides[\s\S]*\ngrad\.sizes\(\) = \[\d+, 1, ', UserWarning,
     r'torch\.autograd\.graph'),
    # MMEngine passes it to torch's DistributedDataParallel.
    ('`broadcast_buffers` is deprecated', FutureWarning, r'mmengine\.model\.wrappers\.distributed'),
)


def ignore_unwanted_warnings() -> None:
    """Ignores the warnings of runs that are named above, from now on; others are left as they are."""
    for message, category, module in UNWANTED_IN_RUNS:
        warnings.filterwarnings('ignore', message, category, module)


def import_quietly(name: str) -> ModuleType:
    """Imports a module and passes on what the import prints, except for the lines and warnings named above.

    What Python is told to do with warnings is the same afterwards.

    Args:
        name: Absolute name of the module. Importing one of mmseg's packages fills its registries.

    Returns:
        The module.

    Raises:
        ImportError: If it is of the OpenMMLab stack, which is missing or of versions that are not supported.
    """
    if name.split('.')[0] in SUPPORTED:
        check_stack()
    printed = io.StringIO()
    with warnings.catch_warnings():
        for message, category, module in UNWANTED_AT_IMPORT:
            warnings.filterwarnings('ignore', message, category, module)
        try:
            with contextlib.redirect_stdout(printed):
                return importlib.import_module(name)
        finally:
            for line in printed.getvalue().splitlines():
                if line not in UNWANTED_LINES:
                    print(line)
