"""The maps that the objective is computed for, and the tool on an untrained model."""
import json
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import load_config
from mmwsss.models import SLAM
from mmwsss.registry import MODELS


@pytest.fixture(scope='module')
def module(load_tool):
    return load_tool('benchmark/slam_objective.py')


def test_candidates(module):
    mask = torch.tensor([[0, 1, 1, 255], [0, 2, 2, 0]])
    label, cam = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.1, 0.6, 0.9])[:, None, None].expand(3, 2, 4)
    maps = module.candidates(mask, label, cam, 0.5, has_complement=True)
    for name, found in maps.items():
        assert found.shape == (4, 2, 4), name
        torch.testing.assert_close(found[0], 1 - found[1:3].amax(0))
    truth = maps['ground truth']
    assert truth[1].tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]] and truth[2].tolist() == [[0, 0, 0, 0], [0, 1, 1, 0]]
    assert maps['class + background'][1].tolist() == [[1, 1, 1, 1], [1, 0, 0, 1]]
    assert maps['plain CAM > 0.5'][:, 0, 0].tolist() == [0, 0, 1, 0]  # the third class is not there
    assert (maps['ground truth, smaller'] <= truth)[1:].all() and (maps['ground truth, larger'] >= truth)[1:].all()
    own = module.candidates(mask, label, cam, 0.5, has_complement=False)
    assert (own['class + background'][0] == 1).all() and (own['all 0.5'] == 0.5).all()


def test_mean_cosines_are_of_the_foreground(module):
    similarity = torch.tensor([[0.9, 0.8, 0.1], [0.9, 0.2, 0.6]])
    present = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert module.mean_cosines(similarity, present) == pytest.approx(dict(present=1.6 / 3, absent=0.1))


def test_descend_goes_against_the_slope(module):
    maps = torch.rand(4, 32, 32, generator=torch.Generator().manual_seed(2))
    wanted = torch.tensor([0.2, 0.7, 0.9])[None, :, None, None]
    model = SimpleNamespace(temperature=3.0, activation='sigmoid', background='complement')
    model.activations = partial(SLAM.activations, model)
    model.activation_losses = lambda inputs, found, present: {'loss_a': (found[:, 1:] - wanted).square().mean(),
                                                              'loss_b': 0 * found.sum()}
    found = module.descend(model, torch.zeros(1, 3, 32, 32), maps, torch.tensor([[1, 1, 0, 1]]), [1, 300])
    # From the mean of every 16 x 16 square; Adam's first step has the length of the learning rate.
    start = torch.stack([maps[k, y:y + 16, x:x + 16].mean() for k in (1, 2, 3) for y in (0, 16) for x in (0, 16)])
    start = start.reshape(1, 3, 2, 2)
    first = (start.logit() - 0.1 * (start - wanted).sign()).sigmoid()
    torch.testing.assert_close(found[1][None, 1:], F.interpolate(first, (32, 32), mode='bilinear'), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[300][None, 1:], wanted.expand(1, 3, 32, 32), atol=1e-3, rtol=0)
    assert list(found) == [1, 300]
    for activations in found.values():
        torch.testing.assert_close(activations[0], 1 - activations[[1, 3]].amax(dim=0))  # the second class is not there


def test_tool(module, repo_root, generated_root, tiny_cam_options, tmp_path, monkeypatch, capsys):
    files = {}
    for name in ('slams/encoder_efflite0_small', 'cam/cam_efflite0_small'):
        options = {key: value for key, value in tiny_cam_options.items()
                   if name.startswith('cam') or not key.startswith(('test_', 'model.inference_hooks'))}
        model = MODELS.build(load_config(repo_root / f'configs/{name}.py', generated_root, options).model)
        files[name] = str(tmp_path / f'{model._get_name()}.pth')
        torch.save(model.state_dict(), files[name])
    encoder, classifier = files.values()
    monkeypatch.setattr(sys, 'argv', [
        'slam_objective.py', str(repo_root / 'configs/slams/slam_efflite0_small.py'), '--data-root',
        str(generated_root), '--num-images', '2', '--descend', '2', '1', '--out', str(tmp_path / 'out.json'),
        '--cfg-options',
        f'model.encoder.init_cfg.checkpoint={encoder}', f'model.backbone.init_cfg.checkpoint={classifier}',
        f'model.cam_head.init_cfg.checkpoint={classifier}'])
    with pytest.raises(SystemExit) as caught:
        run_cli(module.main)
    out, err = capsys.readouterr()
    assert caught.value.code == 0, err
    figures = json.loads((tmp_path / 'out.json').read_text())
    assert 'cheapest: ' + figures['cheapest'] in out and len(figures['figures']) == 9 + 4
    assert not figures['cheapest'].endswith('steps')  # they are made to be cheap
    assert f"classes in the images {figures['cosines']['present']:.2f}" in out
    for losses in figures['figures'].values():
        parts = [value for name, value in losses.items() if name.startswith('loss_')]
        assert len(parts) == 3 and losses['total'] == pytest.approx(sum(parts))
    scores = {name: losses['mIoU'] for name, losses in figures['figures'].items()}
    assert scores['ground truth'] == pytest.approx(100) and scores['nothing'] < scores['ground truth, smaller'] < 100
    areas = {name: losses['loss_regularization'] for name, losses in figures['figures'].items()}
    assert areas['nothing'] == pytest.approx(0, abs=1e-6) and areas['everything'] == max(areas.values())
