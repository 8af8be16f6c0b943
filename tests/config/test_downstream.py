"""Configs of this package in projects of others: ``_base_ = 'mmwsss::...'``."""
import os
import subprocess

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from warm_python import warm_python

from mmwsss.config.config import read_config
from mmwsss.registry import MODELS

DOWNSTREAM = """
_base_ = 'mmwsss::cam/cam_efflite0_small.py'
model = dict(cam_head=dict(num_classes=3), backbone=dict(init_cfg=None))
default_hooks = dict(checkpoint=dict(interval=7))
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / 'mine.py').write_text(DOWNSTREAM)
    return tmp_path / 'mine.py'


def unscoped(value):
    """Without what MMEngine writes into what comes from another package: where its names are looked up."""
    if isinstance(value, dict):
        return {key: unscoped(item) for key, item in value.items() if key != '_scope_'}
    return [unscoped(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize('read', [Config.fromfile, read_config])
def test_a_config_inherits_one_of_the_package(project, repo_root, read):
    cfg = read(project)
    ours = Config.fromfile(repo_root / 'configs/cam/cam_efflite0_small.py')
    assert cfg.model.cam_head.num_classes == 3 and cfg.default_hooks.checkpoint.interval == 7
    assert unscoped(cfg.train_dataloader) == unscoped(ours.train_dataloader) and cfg.model.type == ours.model.type
    init_default_scope(cfg.default_scope)
    assert type(MODELS.build(cfg.model)).__name__ == 'CAMClassifier'


def test_variables_of_the_base_can_be_used(project):
    project.write_text("_base_ = ['mmwsss::cam/cam_efflite0_small.py']\nmine = _base_.train_dataloader.batch_size\n")
    assert read_config(project).mine == 16


def test_mmengine_s_hub_knows_the_package():
    assert get_config('mmwsss::cam/cam_efflite0_small.py').model.type == 'CAMClassifier'


def test_a_project_trains_from_any_folder(project, repo_root, generated_root, tiny_cam_options):
    """As its user calls it, by mmwsss's own script."""
    words = [f'{key}={str(value).replace(" ", "")}' for key, value in tiny_cam_options.items()]
    done = subprocess.run(
        [warm_python(), '-W', 'ignore', '-m', 'mmwsss', 'train', 'mine.py', '--data-root', str(generated_root),
         '--work-dir', 'work', '--cfg-options', *words, 'train_cfg.max_epochs=1',
         'default_hooks.checkpoint.interval=1'],
        cwd=project.parent, env=dict(os.environ, PYTHONPATH=str(repo_root), OMP_NUM_THREADS='1'), capture_output=True,
        text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (project.parent / 'work/epoch_1.pth').is_file()
