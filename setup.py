"""Packaging of mmwsss."""
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION: dict[str, str] = {}
exec((HERE / 'mmwsss/version.py').read_text(), VERSION)


def requirements(name: str) -> list[str]:
    """Reads a file of requirements/, without comments."""
    lines = (HERE / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


setup(
    name='mmwsss',
    version=VERSION['__version__'],
    description='Weakly supervised semantic segmentation on MMSegmentation and MMEngine',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmwsss', 'mmwsss.*']),
    install_requires=requirements('runtime'),
    extras_require={'crf': requirements('crf'), 'weights': requirements('weights'), 'tests': requirements('tests')},
)
