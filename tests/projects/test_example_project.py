import math
import os
import subprocess
import sys

import pytest
import torch


@pytest.fixture
def project(repo_root, monkeypatch):
    folder = repo_root / 'projects/example_project'
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_pooling_lies_between_mean_and_maximum(project):
    from lse_pool import log_sum_exp_pool
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for r in (0.5, 4.0):
        pooled = log_sum_exp_pool(maps, r)
        for n in range(2):
            for c in range(3):
                values = [float(v) for v in maps[n, c].flatten()]
                expected = math.log(sum(math.exp(r * v) for v in values) / len(values)) / r
                assert pooled[n, c].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
                assert sum(values) / len(values) < pooled[n, c] < max(values)


def test_project_trains_without_touching_the_package(project, generated_root, tmp_path, tiny_cam_options):
    options = {**tiny_cam_options, 'train_cfg.max_epochs': 1}
    options.pop('model.inference_hooks.0.scales')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '../../tools/train.py', 'configs/cam_lse_efflite0_small.py', '--data-root',
         str(generated_root), '--work-dir', str(tmp_path), '--cfg-options',
         *(f'{key}={str(value).replace(" ", "")}' for key, value in options.items())],
        cwd=project, env=dict(os.environ, PYTHONPATH=f'{project}:{project.parents[1]}'), capture_output=True, text=True,
        timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    meta = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['meta']
    assert 'LSECAMHead' in meta['cfg']
