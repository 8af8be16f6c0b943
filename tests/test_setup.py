"""The source distribution, the package that is built from it, and its use in an empty environment."""
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

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
    for name in ('LICENSE', 'Makefile', 'README.md', 'model-index.yml', 'pyproject.toml', 'pytest.ini', 'ruff.toml',
                 'setup.py'):
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


@pytest.fixture(scope='module')
def environment(sdist, tmp_path_factory):
    """The bin folder of a virtual environment with the wheel, and the packages of this one; nothing is downloaded."""
    pytest.importorskip('pip', minversion='22.3', reason='installing a wheel needs pip')
    folder = tmp_path_factory.mktemp('environment')

    def call(*command):
        done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120,
                              check=False, env=dict(os.environ, PYTHONPATH=''))
        assert done.returncode == 0, done.stderr[-3000:]

    call('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '--no-index', sdist, '-w', folder)
    wheel, = folder.glob('mmwsss-*.whl')
    call('-m', 'venv', '--without-pip', folder / 'env')
    call('-m', 'pip', '-q', '--python', folder / 'env/bin/python', 'install', '--no-deps', '--no-index', wheel)
    packages, = (folder / 'env').glob('lib/python*/site-packages')
    # After the install: pip would take the mmwsss of this environment for the one to replace.
    # MMEngine imports distutils, which setuptools provides from Python 3.12 on, by a .pth file that is not read here.
    (packages / 'present.pth').write_text('\n'.join([
        *{sysconfig.get_path(name) for name in ('purelib', 'platlib')},
        "import importlib.util as u; u.find_spec('_distutils_hack') and __import__('_distutils_hack').add_shim()"]))
    return folder / 'env/bin'


def run_in(environment, cwd, *command):
    variables = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'MMWSSS_CACHE')}
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=240, check=False,
                          env=dict(variables, OMP_NUM_THREADS='1', PATH=f'{environment}:{os.environ["PATH"]}'))
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_wheel_gives_a_command_with_the_packaged_configs(environment, checkout, tmp_path):
    listed = run_in(environment, tmp_path, environment / 'mmwsss', 'configs').split()
    assert set(listed) == {str(path.relative_to(checkout / 'configs')) for path in (checkout / 'configs').glob('*/*.py')
                           if path.parent.name != '_base_'}
    paths = run_in(environment, tmp_path, environment / 'mmwsss', 'configs', 'cam', '--paths').split()
    assert paths and all(Path(path).is_file() and '.mim/configs/cam/' in path for path in paths)


def test_wheel_trains_makes_cams_and_labels(environment, tmp_path, tiny_cam_options):
    """One process for all: most of the time is the import of torch and mmseg."""
    options = {**tiny_cam_options, 'train_cfg.max_epochs': 1}
    words = [f'{key}={str(value).replace(" ", "")}' for key, value in options.items()]
    script = f'''
import mmwsss
from mmwsss.cli.main import main
from mmwsss.datasets.synthetic.synthetic_dataset import generate_voc_layout

def run(*words):
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code == 0, words

generate_voc_layout('data', num_train=8, num_val=1, num_classes=2, size=64, seed=0)
config, data = ['cam_efflite0_small'], ['--data-root', 'data']
run('train', *config, *data, '--work-dir', 'work', '--cfg-options', *{words!r})
run('cam', *config, 'work/epoch_1.pth', *data, '--split', 'train', '--out-dir', 'cams', '--cfg-options', *{words!r})
run('label', 'cams', *data, '--split', 'train', '--out-dir', 'labels', '--num-workers', '0')
print(mmwsss.__file__)
'''
    out = run_in(environment, tmp_path, environment / 'python', '-W', 'ignore', '-c', script)
    assert out.split()[-1].startswith(str(environment.parent / 'lib'))
    assert 'trained: work/epoch_1.pth' in out and 'cams: 8 CAM files made' in out
    assert len(list((tmp_path / 'labels').glob('*.png'))) == 8


@pytest.mark.skipif(importlib.util.find_spec('mim') is None, reason='openmim is not installed')
def test_mim_trains_by_the_name_of_a_config(environment, tmp_path, generated_root, tiny_cam_options):
    words = [f'{key}={str(value).replace(" ", "")}' for key, value in tiny_cam_options.items()]
    run_in(environment, tmp_path, environment / 'python', '-m', 'mim', 'train', 'mmwsss', 'cam_efflite0_small.py',
           '--data-root', generated_root, '--work-dir', 'work', '--cfg-options', *words, 'train_cfg.max_epochs=1')
    assert (tmp_path / 'work/epoch_1.pth').is_file()
