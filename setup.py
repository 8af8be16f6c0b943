"""What pyproject.toml cannot say: configs and tools go into the package that is built."""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithConfigs(build_py):
    """Puts configs and tools into the package that is built, as ``mmwsss/.mim``.

    There MIM looks for them, as in mmsegmentation's packages, and ``mmwsss.config.find``. A checkout has links there,
    which an editable install uses.
    """

    def run(self) -> None:
        """Builds the package."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, 'mmwsss', '.mim')
        shutil.rmtree(target, ignore_errors=True)  # what an earlier build left, of files that are gone
        for folder in ('configs', 'tools'):
            shutil.copytree(HERE / folder, target / folder, ignore=shutil.ignore_patterns('__pycache__', '.*'))
        shutil.copy(HERE / 'model-index.yml', target)


setup(cmdclass={'build_py': BuildWithConfigs})
