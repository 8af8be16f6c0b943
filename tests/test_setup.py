"""The source distribution and the package that is built from it."""
import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip('setuptools', reason='building a package needs setuptools')


def setup(folder, *arguments):
    done = subprocess.run([sys.executable, 'setup.py', '-q', *map(str, arguments)], cwd=folder, capture_output=True,
                          text=True, timeout=120, check=False, env=dict(os.environ, PYTHONPATH=''))
    assert done.returncode == 0, done.stderr[-3000:]


def files(folder, *suffixes):
    return {str(path.relative_to(folder)) for path in folder.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts and path.suffix in suffixes}


@pytest.fixture(scope='module')
def checkout(repo_root, tmp_path_factory):
    """A copy of the checkout to build in."""
    ignored = shutil.ignore_patterns('.*', '__pycache__', '*.egg-info', 'build', 'dist', 'work_dirs', 'data', '*.pth')
    return shutil.copytree(repo_root, tmp_path_factory.mktemp('setup') / 'copy', ignore=ignored)


@pytest.fixture(scope='module')
def sdist(checkout, tmp_path_factory):
    """An unpacked source distribution."""
    folder = tmp_path_factory.mktemp('sdist')
    setup(checkout, 'sdist', '--dist-dir', folder / 'dist')
    archive, = (folder / 'dist').iterdir()
    shutil.unpack_archive(archive, folder / 'unpacked')
    unpacked, = (folder / 'unpacked').iterdir()
    return unpacked


@pytest.fixture(scope='module')
def built(sdist, tmp_path_factory):
    """What a wheel holds, built from the source distribution."""
    folder = tmp_path_factory.mktemp('built')
    setup(sdist, 'build', '--build-base', folder / 'temporary', '--build-lib', folder / 'lib')
    return folder / 'lib'


def test_sdist_has_what_an_install_and_the_makefile_read(sdist, checkout):
    for folder in ('configs', 'mmwsss', 'projects', 'requirements', 'tests', 'tools'):
        suffixes = ('.py', '.txt', '.yml', '.md', '.sh')
        assert files(sdist / folder, *suffixes) == files(checkout / folder, *suffixes) != set()
    for name in ('LICENSE', 'Makefile', 'README.md', 'model-index.yml', 'pytest.ini', 'ruff.toml', 'setup.py'):
        assert (sdist / name).read_bytes() == (checkout / name).read_bytes()
    assert not list(sdist.rglob('*.pyc')) and not list(sdist.rglob('__pycache__'))


def test_every_module_is_built(built, checkout):
    modules = {name for name in files(built / 'mmwsss', '.py') if not name.startswith('.mim')}
    assert modules == files(checkout / 'mmwsss', '.py')


def test_configs_and_tools_are_built_in(built, checkout):
    mim = built / 'mmwsss/.mim'
    for folder in ('configs', 'tools'):
        suffixes = ('.py', '.yml', '.md', '.sh')
        assert files(mim / folder, *suffixes) == files(checkout / folder, *suffixes) != set()
    assert (mim / 'model-index.yml').read_bytes() == (checkout / 'model-index.yml').read_bytes()
    assert not list(mim.rglob('__pycache__')) and not any(path.is_symlink() for path in mim.rglob('*'))


def test_built_package_runs_its_own_tools(built, tmp_path):
    script = ('from pathlib import Path; import mmwsss; from mmengine.config import Config; '
              'folder = Path(mmwsss.__file__).parent; '
              'print(folder, Config.fromfile(folder / ".mim/configs/cam/cam_efflite0_small.py").model.type)')
    done = subprocess.run([sys.executable, '-c', script], cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(built)),
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split()[-2:] == [str(built / 'mmwsss'), 'CAMClassifier'], done.stderr[-3000:]
    done = subprocess.run([sys.executable, str(built / 'mmwsss/.mim/tools/train.py'), '--help'], cwd=tmp_path,
                          env=dict(os.environ, PYTHONPATH=str(built)), capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0 and '--data-root' in done.stdout, done.stderr[-3000:]


def test_editable_install_gets_no_copy(sdist, tmp_path, monkeypatch):
    from distutils.core import run_setup  # setuptools' own, also where Python has none
    monkeypatch.chdir(sdist)
    command = run_setup('setup.py', stop_after='config').get_command_obj('build_py')
    command.ensure_finalized()
    command.editable_mode = True
    command.build_lib = str(tmp_path / 'lib')
    command.run()
    assert not list(tmp_path.rglob('.mim')) and not (sdist / 'mmwsss/.mim').exists()
