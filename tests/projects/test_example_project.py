import json
import math
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from warm_python import warm_python


@pytest.fixture
def project(repo_root, monkeypatch):
    folder = repo_root / 'projects/example_project'
    monkeypatch.syspath_prepend(str(folder))
    return folder


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def call(folder, repo_root, command, **environment):
    """Runs a command in a folder, with the Python of the tests as ``python``."""
    path = f'{Path(warm_python()).parent}:{os.environ["PATH"]}'
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, check=False,
                          env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONWARNINGS='ignore', PATH=path, **environment))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def test_pooling_lies_between_mean_and_maximum(project):
    from my_method import log_sum_exp_pool
    maps = random(2, 3, 4, 5)
    for r in (0.5, 4.0):
        pooled = log_sum_exp_pool(maps, r)
        for n in range(2):
            for c in range(3):
                values = [float(v) for v in maps[n, c].flatten()]
                expected = math.log(sum(math.exp(r * v) for v in values) / len(values)) / r
                assert pooled[n, c].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
                assert sum(values) / len(values) < pooled[n, c] < max(values)


def test_features_weight_maps(project):
    from my_method import weight_maps
    maps, feats = random(2, 3, 4, 5), random(2, 7, 4, 5, seed=1)
    weighted = weight_maps(maps, feats)
    for n in range(2):
        norms = [[math.sqrt(sum(float(v) ** 2 for v in feats[n, :, y, x])) for x in range(5)] for y in range(4)]
        largest = max(max(row) for row in norms)
        for c in range(3):
            for y in range(4):
                for x in range(5):
                    expected = max(float(maps[n, c, y, x]), 0) * norms[y][x] / largest
                    assert weighted[n, c, y, x].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_scores_are_means_over_a_square(project):
    from my_method import SmoothScores

    from mmwsss.structures import ScoreMap
    scores = random(2, 5, 6).abs().numpy().astype(np.float32)
    before = scores.copy()
    smooth = SmoothScores(radius=1)(ScoreMap(scores, np.array([4])), np.zeros((5, 6, 3), np.uint8))
    padded = np.pad(scores.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode='symmetric')
    for k in range(2):
        for y in range(5):
            for x in range(6):
                assert smooth.scores[k, y, x] == pytest.approx(padded[k, y:y + 3, x:x + 3].mean(), rel=1e-5)
    assert smooth.classes.tolist() == [4] and (scores == before).all()


def test_larger_of_image_and_mirror_image_counts(project):
    from my_method import MirrorMax

    from mmwsss.structures import CAMOutput

    def cam_function(inputs, labels):
        # Depends on where a pixel stands, so that the mirror image's CAM differs.
        return CAMOutput(cam=inputs * torch.arange(1, 5), logits=inputs.mean((2, 3)), feats=dict(a=inputs))

    output = MirrorMax()(cam_function, torch.tensor([[[[4., 3., 2., 1.]]]]), None)
    # The plain CAM is 4, 6, 6, 4; mirrored the image is 1, 2, 3, 4, its CAM 1, 4, 9, 16, and back 16, 9, 4, 1.
    assert output.cam.tolist() == [[[[16., 9., 6., 4.]]]]
    assert output.logits.tolist() == [[2.5]] and output.feats == {}


def test_project_trains_without_touching_the_package(project, repo_root, generated_root, tmp_path, tiny_cam_options):
    options = {**tiny_cam_options, 'train_cfg.max_epochs': 1}
    call(project, repo_root, [
        warm_python(), '../../tools/train.py', 'configs/cam_lse_efflite0_small.py', '--data-root',
        str(generated_root), '--work-dir', str(tmp_path), '--cfg-options',
        *(f'{key}={str(value).replace(" ", "")}' for key, value in options.items())],
        PYTHONPATH=f'{project}:{repo_root}')
    meta = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['meta']
    assert 'LSECAMHead' in meta['cfg']


def test_pipeline_of_all_parts(project, repo_root, generated_root, tmp_path, tiny_cam_options):
    settings = {**tiny_cam_options, 'train_cfg.max_epochs': 1}
    options = {f'cfg_options.cam.{key}': value for key, value in settings.items()}
    printed = call(project, repo_root, [
        warm_python(), '../../tools/run_pipeline.py', 'configs/pipeline.py', '--data-root', str(generated_root),
        '--work-dir', str(tmp_path), '--cfg-options',
        *(f'{key}={str(value).replace(" ", "")}' for key, value in options.items())],
        PYTHONPATH=f'{project}:{repo_root}')
    assert 'covered area' in printed
    area = json.loads((tmp_path / 'area/area.json').read_text())
    classes = (generated_root / 'classes.txt').read_text().split()
    shares = {name: [] for name in classes}
    for path in (tmp_path / 'cam/cam').glob('*.npz'):
        with np.load(path) as content:
            for index, cam in zip(content['classes'], content['cam']):
                shares[classes[index]].append(sum(value >= 0.2 for value in cam.flatten()) / cam.size)
    assert area == {name: pytest.approx(sum(values) / len(values)) for name, values in shares.items() if values}
    assert max(area.values()) > 0
    complete = json.loads((tmp_path / 'area/complete.json').read_text())
    assert complete['metrics'][0]['value'] == pytest.approx(100 * sum(area.values()) / len(area))
    assert len(list((tmp_path / 'label').rglob('*.png'))) == 12


def blocks(text, language):
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def tutorial(repo_root, tmp_path):
    """A checkout ``mmwsss`` with a folder ``my_project`` beside it, made of what the page says, and its commands."""
    page = (repo_root / 'projects/example_project/README.md').read_text()
    part = page[page.index('## In ten minutes'):page.index('## One of each kind')]
    names = re.findall(r'^(?:.* )?`(\w+\.py)`:$', part, re.MULTILINE)
    files = dict(zip(names, blocks(part, 'python'), strict=True))
    assert list(files) == ['blur_cam.py', 'blurred.py']
    (tmp_path / 'mmwsss').symlink_to(repo_root)
    (tmp_path / 'my_project').mkdir()
    for name, text in files.items():
        (tmp_path / 'my_project' / name).write_text(text)
    return tmp_path / 'my_project', *blocks(part, 'bash')


def test_hook_of_the_page_blurs_cams(tutorial, repo_root, generated_root, tmp_path, tiny_cam_options):
    from mmwsss.apis.cam_files import make_cam
    from mmwsss.apis.runner import train
    from mmwsss.config.config import load_config
    from mmwsss.structures import cam_path, read_cam
    config = repo_root / 'configs/cam/cam_efflite0_small.py'
    cfg = load_config(config, generated_root, {**tiny_cam_options, 'train_cfg.max_epochs': 1})
    checkpoint = train(cfg, tmp_path / 'work').checkpoint
    folder, commands = tutorial
    # The checkout is the one that is tested, whatever is installed: `python` puts the folder of the script first.
    commands = commands.replace('export PYTHONPATH=.', f'export PYTHONPATH=.:{repo_root}')
    printed = call(folder, repo_root, ['bash', '-euc', commands], DATA=str(generated_root), CHECKPOINT=str(checkpoint))
    assert 'mIoU' in printed
    assert '12 CAM files made' in printed

    make_cam(load_config(config, generated_root), checkpoint, tmp_path / 'plain', 'train')
    different = 0
    for path in sorted((folder / 'cams').glob('*.npz')):
        blurred, plain = read_cam(path), read_cam(cam_path(tmp_path / 'plain', path.stem))
        for found, cam in zip(blurred.cam.astype(np.float64), plain.cam.astype(np.float64)):
            height, width = cam.shape
            mean = np.array([[cam[max(y - 1, 0):y + 2, max(x - 1, 0):x + 2].mean() for x in range(width)]
                             for y in range(height)])
            np.testing.assert_allclose(found, mean / max(mean.max(), 1e-9), atol=3e-3)
            different += np.abs(found - cam).max() > 0.02
    assert different > 0
