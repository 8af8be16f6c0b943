import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope='session')
def load_tool(repo_root):
    """Imports a file of tools/, which is no package, as a module of its own."""
    def load(path: str) -> ModuleType:
        file = Path(repo_root, 'tools', path)
        spec = importlib.util.spec_from_file_location('tool_' + file.stem, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return load
