"""Checks that the installed OpenMMLab stack is one this package works with."""
import importlib

# Module name -> (lowest, first unsupported) version. The modules are asked, not the
# distributions: `mmcv` may come from mmcv, mmcv-lite or onedl-mmcv.
SUPPORTED = {
    'mmengine': ((0, 10, 0), (1, 0, 0)),
    'mmcv': ((2, 0, 0), (3, 0, 0)),
    'mmseg': ((1, 2, 0), (2, 0, 0)),
}
INSTALL_HINT = 'pip install onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2'


def parse_version(text: str) -> tuple[int, ...]:
    """Returns the release of a version, read by MMEngine's ``digit_version``.

    Args:
        text: A version such as ``2.1.0rc1+cpu``.

    Returns:
        Its first three numbers, missing ones as 0, e.g. ``(2, 1, 0)``.
    """
    from mmengine.utils import digit_version  # in here: what is missing of the stack is told in one line below
    return digit_version(text)[:3]


def check_stack(supported: dict = SUPPORTED) -> None:
    """Imports every module of ``supported`` and compares its ``__version__``.

    Args:
        supported: Module name -> (lowest version, first unsupported version).

    Raises:
        ImportError: If a module is missing or its version is outside the range; the message
            says what to install.
    """
    for name, (low, high) in supported.items():
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise ImportError(f'mmwsss needs {name}, which cannot be imported ({error}). '
                              f'Install the stack: {INSTALL_HINT}') from error
        version = parse_version(module.__version__)
        if not low <= version < high:
            wanted = f'>= {".".join(map(str, low))}, < {".".join(map(str, high))}'
            raise ImportError(f'mmwsss needs {name} {wanted}, found {module.__version__}. '
                              f'Install the stack: {INSTALL_HINT}')
