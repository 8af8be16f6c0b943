import json
import sys
from pathlib import Path

import pytest
import torch

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import load_config
from mmwsss.registry import MODELS

TOOL = Path(__file__).parents[2] / 'tools/benchmark/infer_cam.py'


@pytest.fixture(scope='module')
def module(load_tool):
    return load_tool('benchmark/infer_cam.py')


@pytest.fixture
def tool(module, repo_root, generated_root, tiny_cam_options, tmp_path, monkeypatch, capsys):
    """Runs the tool on an untrained model in this process: (exit code, stdout, stderr)."""
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, dict(tiny_cam_options))
    cfg.dump(tmp_path / 'plain.py')
    cfg.model.inference_hooks = [dict(type='InferCam', split=dict(min_size=16, align=16), erase=dict(max_rounds=2)),
                                 dict(type='MultiScaleFlip', scales=(1.0,))]
    cfg.dump(tmp_path / 'cam.py')
    torch.manual_seed(0)
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'weights.pth')

    def run(*options, config='cam.py'):
        monkeypatch.setattr(sys, 'argv', [
            str(TOOL), str(tmp_path / config), str(tmp_path / 'weights.pth'), '--data-root', str(generated_root),
            *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return caught.value.code, *capsys.readouterr()

    return run


def test_both_ways_agree_and_are_measured(tool, tmp_path):
    code, out, err = tool('--num-images', '2', '--out', str(tmp_path / 'figures.json'))
    assert code == 0, err
    assert 'gives the same maps' in out
    results = json.loads((tmp_path / 'figures.json').read_text())['results']
    assert set(results) <= {'one class', 'two classes', 'three or more'} and 'one class' in results
    for result in results.values():
        figures = result['figures']
        assert figures['plain']['pixel_ratio'] == figures['plain']['time_ratio'] == 1
        # Patches that are the same are made once.
        assert figures['ours']['pixels'] <= figures['one crop at a time']['pixels']
        assert figures['ours']['calls'] <= figures['one crop at a time']['calls']
        assert figures['ours']['pixel_ratio'] > 1 and figures['ours']['largest_difference'] < 0.05


def test_against_another_plain_way(tool, tmp_path):
    pixels = []
    for options in ((), ('--plain', str(tmp_path / 'plain.py'))):
        code, _, err = tool('--num-images', '1', '--without-slow', '--out', str(tmp_path / 'figures.json'), *options)
        assert code == 0, err
        pixels.append(json.loads((tmp_path / 'figures.json').read_text())['results']['one class']['figures'])
    assert [set(figures) for figures in pixels] == [{'plain', 'ours'}] * 2
    # The plain config has the scales 1 and 2.
    assert pixels[1]['plain']['pixels'] == 5 * pixels[0]['plain']['pixels']
    assert pixels[1]['ours']['pixels'] == pixels[0]['ours']['pixels']


def test_maps_that_differ_are_an_error(module):
    maps = [torch.rand(2, 3, 8, 8)]
    assert module.assert_equal(maps, [maps[0].clone()]) == 0
    other = maps[0].clone()
    other[1, 2, :4] = 0
    with pytest.raises(AssertionError, match='gives other maps'):
        module.assert_equal(maps, [other])


@pytest.mark.parametrize(('options', 'part'), [
    (['--num-images', '0'], '--num-images'), (['--batch-size', '0'], '--batch-size'), (['--rounds', '0'], '--rounds'),
    (['--cfg-options', 'model.inference_hooks=[]'], 'outermost')])
def test_mistakes_end_in_one_line(tool, options, part):
    code, _, err = tool(*options)
    assert code == 1 and err.count('\n') == 1 and part in err


def test_config_without_hook(tool):
    code, _, err = tool(config='plain.py')
    assert code == 1 and err.count('\n') == 1 and 'outermost' in err
