import json
import sys
from pathlib import Path

import pytest
import torch

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import load_config
from mmwsss.registry import MODELS

TOOL = Path(__file__).parents[2] / 'tools/benchmark/make_cam.py'


@pytest.fixture
def tool(load_tool, repo_root, generated_root, tiny_cam_options, tmp_path, monkeypatch, capsys):
    """Runs the tool on an untrained model in this process: (exit code, stderr)."""
    module = load_tool('benchmark/make_cam.py')
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, dict(tiny_cam_options))
    cfg.dump(tmp_path / 'cam.py')
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'weights.pth')

    def run(*options):
        monkeypatch.setattr(sys, 'argv', [
            str(TOOL), str(tmp_path / 'cam.py'), str(tmp_path / 'weights.pth'), '--data-root', str(generated_root),
            '--num-workers', '0', *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return caught.value.code, capsys.readouterr().err

    return run


def test_every_way_is_timed_and_evaluated(tool, tmp_path):
    code, err = tool('--num-images', '2', '--out', str(tmp_path / 'figures.json'))
    assert code == 0, err
    figures = json.loads((tmp_path / 'figures.json').read_text())['figures']
    assert sorted(figures) == ['original', 'ours, bfloat16', 'ours, float32']
    assert figures['original']['ratio'] == 1 and all(0 <= figure['mIoU'] <= 1 for figure in figures.values())


@pytest.mark.parametrize('options', [['--num-images', '0'], ['--rounds', '0']])
def test_nothing_to_time_ends_in_one_line(tool, options):
    code, err = tool(*options)
    assert code == 1 and err.count('\n') == 1 and options[0] in err
