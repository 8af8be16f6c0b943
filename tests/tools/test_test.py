import importlib.util
import json
import shutil
import sys

import pytest

from mmwsss.apis.runner import train


@pytest.fixture(scope='module')
def tested(tmp_path_factory, repo_root, generated_root, tiny_cam_options):
    """A tiny CAM config as a file, and its checkpoint."""
    from mmengine.config import Config

    from mmwsss.apis.config import fit_to_data
    cfg = Config.fromfile(repo_root / 'configs/cam/cam_efflite0_small.py')
    cfg.merge_from_dict({**tiny_cam_options, 'train_cfg.max_epochs': 1})
    folder = tmp_path_factory.mktemp('tested')
    cfg.dump(folder / 'tiny.py')
    return folder / 'tiny.py', train(fit_to_data(cfg, generated_root), folder / 'work').checkpoint


@pytest.fixture
def run_test_tool(repo_root, tested, monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location('test_tool', repo_root / 'tools/test.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(data_root):
        monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, tested), '--data-root', str(data_root), '--work-dir',
                                          str(tmp_path / 'work'), '--out', str(tmp_path / 'metrics.json')])
        return module.main()
    return run


def test_metrics_are_written(run_test_tool, generated_root, tmp_path):
    assert run_test_tool(generated_root) == 0
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert 0 < metrics['mIoU'] <= 100 and 0 <= metrics['threshold'] <= 1


def test_without_masks_the_evaluation_is_skipped_and_said(run_test_tool, generated_copy, tmp_path, capsys):
    shutil.rmtree(generated_copy / 'SegmentationClass')
    assert run_test_tool(generated_copy) == 0
    assert 'evaluation is skipped' in capsys.readouterr().out
    assert not (tmp_path / 'metrics.json').exists()
