import re
from pathlib import Path

import pytest

from mmwsss.config import find
from mmwsss.config.find import find_config, list_configs
from mmwsss.utils.errors import UserError


@pytest.mark.parametrize('name', [
    'cam_efflite0_small', 'cam_efflite0_small.py', 'cam/cam_efflite0_small', 'cam/cam_efflite0_small.py',
    'configs/cam/cam_efflite0_small.py', '.mim/configs/cam/cam_efflite0_small.py',
    'mmwsss/.mim/configs/cam/cam_efflite0_small.py', 'mmwsss::cam/cam_efflite0_small.py',
    Path('cam/cam_efflite0_small.py')])
def test_names_in_the_package(name, repo_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no checkout around
    assert find_config(name).resolve() == repo_root / 'configs/cam/cam_efflite0_small.py'


def test_a_file_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'cam_efflite0_small.py').write_text('')
    assert find_config('cam_efflite0_small.py') == Path('cam_efflite0_small.py')
    assert find_config(tmp_path / 'cam_efflite0_small.py') == tmp_path / 'cam_efflite0_small.py'


def test_folders_of_other_commands(repo_root):
    for folder in ('pipelines', 'studies', 'seam'):
        assert find_config('seam_r50_small', folder).resolve() == repo_root / f'configs/{folder}/seam_r50_small.py'
    assert find_config('seam_r50_small').resolve() == repo_root / 'configs/seam/seam_r50_small.py'
    assert find_config('pipelines/cam_small', 'pipelines').resolve() == repo_root / 'configs/pipelines/cam_small.py'
    crf = find_config('crf_label', '_base_/postprocessing')
    assert crf.resolve() == repo_root / 'configs/_base_/postprocessing/crf_label.py'


def test_every_config_has_a_name_of_its_own(repo_root):
    names = list_configs()
    files = {path.relative_to(repo_root / 'configs').as_posix() for path in (repo_root / 'configs').glob('*/*.py')
             if path.parent.name != '_base_'}
    assert set(names) == files and len(names) == len(files)
    for name in names:
        folder = Path(name).parent.name
        asked = folder if folder in find.OWN_COMMANDS else None
        assert find_config(Path(name).stem, asked).resolve() == repo_root / 'configs' / name


@pytest.mark.parametrize(('name', 'folder', 'message'), [
    ('cam_eflite0_small', None, 'cam_eflite0_small: no such config file.*closest name in the package: '
                                'cam_efflite0_small'),
    ('nowhere/x.py', None, 'nowhere/x.py: no such config file'),
    ('cam_small.', None, 'cam_small.: no such config file'),
    ('cam_small', None, 'cam_small: is a pipeline; use mmwsss pipeline$'),
    ('cam_small', 'studies', 'cam_small: is a pipeline; use mmwsss pipeline$'),
    ('rcm_mam_readings_efflite0_small.py', None, 'small.py: is a study; use mmwsss study$'),
    ('refinement_r50_small', 'pipelines', 'is a study; use mmwsss study$'),
    ('cam_efflite0_small', 'pipelines', 'cam_efflite0_small: is a training config and no pipeline; use mmwsss train$'),
    ('cam_efflite0_small', 'studies', 'is a training config and no study; use mmwsss train$'),
    # A name that another command takes is not proposed.
    ('cam_smal', None, 'closest name in the package: cam_r50_small'),
    ('cam_smal', 'pipelines', 'closest name in the package: cam_small'),
    ('../configs/cam/cam_efflite0_small.py', None, 'no such config file'),
    ('/cam/cam_efflite0_small.py', None, 'no such config file')])
def test_no_such_config(name, folder, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        find_config(name, folder)


def test_several_of_one_name(tmp_path, monkeypatch):
    for folder in ('_base_', 'a', 'b'):
        (tmp_path / 'configs' / folder).mkdir(parents=True)
        (tmp_path / 'configs' / folder / 'x.py').write_text('')
    monkeypatch.setattr(find, 'PACKAGE', tmp_path / 'package')
    monkeypatch.chdir(tmp_path / 'configs/_base_/..')
    with pytest.raises(UserError, match=re.escape('x: is the name of several configs (a/x.py, b/x.py)')):
        find_config('x')
    assert find_config('b/x').resolve() == tmp_path / 'configs/b/x.py'
    with pytest.raises(UserError, match='c: no such folder of configs; there are a, b'):
        list_configs('c')


def test_a_package_without_configs(tmp_path, monkeypatch):
    monkeypatch.setattr(find, 'PACKAGE', tmp_path / 'package')
    with pytest.raises(UserError, match='was installed without its configs'):
        list_configs()
