"""Files that installed Python packages ship."""
import importlib.util
from pathlib import Path, PurePosixPath

from mmwsss.utils.errors import UserError

PACKAGE_SCHEME = 'package://'


def package_file(url: str) -> Path:
    """Finds a file inside an installed Python package, without importing the package.

    Args:
        url: ``package://<importable package>/<path inside it>``.

    Returns:
        The path of the file.

    Raises:
        UserError: If the url is malformed, the package is not installed or has no such file.
    """
    package, _, inside = url.removeprefix(PACKAGE_SCHEME).partition('/')
    parts = PurePosixPath(inside).parts
    if not package.isidentifier() or not parts or '..' in parts or parts[0] == '/' or '\\' in inside:
        raise UserError(f'{url}: write {PACKAGE_SCHEME}<package>/<path inside the package>')
    # A top-level name: find_spec then runs no code of the package.
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise UserError(f'{url}: the package {package} is not installed; pip install {package.replace("_", "-")}')
    for folder in spec.submodule_search_locations or ():
        path = Path(folder, *parts)
        if path.is_file():
            return path
    raise UserError(f'{url}: the installed package {package} has no file {inside}; '
                    f'pip install --upgrade {package.replace("_", "-")}, or correct the path')
