"""Importing OpenMMLab's packages without what they say of things that no user of mmwsss can change."""
import contextlib
import importlib
import io
import warnings
from types import ModuleType

# mmseg prints it for each of two packages when the SDK of a commercial service is not installed.
UNWANTED_LINES = frozenset({'Could not import OneDL'})

# (start of the message, category, module): Python's warnings, at the import or while a Runner works.
UNWANTED_WARNINGS = (
    # mmwsss needs no compiled operator of mmcv.
    ('Fail to import ``MultiScaleDeformableAttention``', UserWarning, r'mmcv\.cnn\.bricks\.transformer'),
    # MMEngine sets it to 1 itself, in every process of a distributed run.
    (r'Setting (OMP|MKL)_NUM_THREADS environment variable', UserWarning, r'mmengine\.utils\.dl_utils\.setup_env'),
    # A depthwise convolution's weights (C x 1 x h x w): the two strides mean the same layout. Of other weights it would
    # tell of wrong gradients, see ChannelsLastHook.
    (r'Grad strides do not match bucket view strides[\s\S]*\ngrad\.sizes\(\) = \[\d+, 1, ', UserWarning,
     r'torch\.autograd\.graph'),
    # MMEngine passes it to torch's DistributedDataParallel.
    ('`broadcast_buffers` is deprecated', FutureWarning, r'mmengine\.model\.wrappers\.distributed'),
)


def import_quietly(name: str) -> ModuleType:
    """Imports a module and passes on what the import prints, except for the lines and warnings named above.

    The warnings are ignored from then on; what Python is told to do with others is left as it is.

    Args:
        name: Absolute name of the module. Importing one of mmseg's packages fills its registries.

    Returns:
        The module.
    """
    for message, category, module in UNWANTED_WARNINGS:
        warnings.filterwarnings('ignore', message, category, module)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            return importlib.import_module(name)
    finally:
        for line in printed.getvalue().splitlines():
            if line not in UNWANTED_LINES:
                print(line)
