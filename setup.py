"""Packaging of mmwsss."""
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION: dict[str, str] = {}
exec((HERE / 'mmwsss/version.py').read_text(), VERSION)


def requirements(name: str) -> list[str]:
    """Reads a file of requirements/, without comments."""
    lines = (HERE / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


class BuildWithConfigs(build_py):
    """Puts configs and tools into the package that is built, as ``mmwsss/.mim``.

    There MIM looks for them, as in mmsegmentation's packages. An editable install has them in its checkout and gets
    no second copy.
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


setup(
    name='mmwsss',
    version=VERSION['__version__'],
    description='Weakly supervised semantic segmentation on MMSegmentation and MMEngine',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='computer vision, semantic segmentation, weakly supervised, class activation maps, pseudo labels',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    python_requires='>=3.10',
    cmdclass={'build_py': BuildWithConfigs},
    packages=find_packages(include=['mmwsss', 'mmwsss.*']),
    install_requires=requirements('runtime'),
    extras_require={'crf': requirements('crf'), 'weights': requirements('weights'),
                    'transformers': requirements('transformers'), 'tests': requirements('tests')},
)
