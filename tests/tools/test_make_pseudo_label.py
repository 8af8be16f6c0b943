import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from warm_python import warm_python

from mmwsss.cli.run_cli import run_cli
from mmwsss.postprocessing import CRF_PRESETS, defaults
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, write_cam
from mmwsss.structures.label_file import read_label

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/make_pseudo_label.py'


@pytest.fixture
def folder(tmp_path):
    """Four images, data/, and their CAMs, cams/."""
    rng = np.random.default_rng(0)
    (tmp_path / 'data/JPEGImages').mkdir(parents=True)
    (tmp_path / 'data/ImageSets').mkdir()
    (tmp_path / 'data/ImageSets/train.txt').write_text('a\nb\nc\nd\n')
    (tmp_path / 'data/classes.txt').write_text('cat\ndog\n')
    open_cam_dir(tmp_path / 'cams', CAMManifest('0' * 64, '1' * 64, ('cat', 'dog')))
    for stem in 'abcd':
        Image.fromarray(rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)).save(
            tmp_path / f'data/JPEGImages/{stem}.jpg')
        write_cam(cam_path(tmp_path / 'cams', stem),
                  CAMFile(np.array([0, 1]), rng.random((2, 4, 6)).astype(np.float16), (16, 24)))
    return tmp_path


@pytest.fixture
def tool(load_tool, folder, monkeypatch, capsys):
    """Runs the tool in this process: (exit code, stdout, stderr)."""
    module = load_tool('make_pseudo_label.py')

    def run(*options, out='labels'):
        monkeypatch.setattr(sys, 'argv', [
            str(TOOL), str(folder / 'cams'), '--data-root', str(folder / 'data'), '--split', 'train', '--out-dir',
            str(folder / out), '--num-workers', '0', *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return (caught.value.code, *capsys.readouterr())

    return run


def manifest(folder, out='labels'):
    return json.loads((folder / out / 'manifest.json').read_text())


def error_of(result):
    code, _, err = result
    assert code == 1
    assert err.startswith('error: ') and err.count('\n') == 1, err
    return err


def test_a_process_of_its_own(folder):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [warm_python(), '-W', 'ignore', str(TOOL), 'cams', '--data-root', 'data', '--split', 'train',
               '--out-dir', 'labels', '--num-workers', '2']
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 'labels: 4 labels made, 0 were there, for 4 images of train' in done.stdout
    assert sorted(path.name for path in (folder / 'labels').iterdir()) == [
        'a.png', 'b.png', 'c.png', 'd.png', 'manifest.json']


def test_defaults(tool, folder):
    code, out, err = tool()
    assert (code, err) == (0, '')
    assert manifest(folder)['background'] == defaults.DEFAULT_BACKGROUND
    assert manifest(folder)['postprocessors'] == []
    share = np.mean([read_label(folder / f'labels/{stem}.png') == 0 for stem in 'abcd'])
    assert f'{share:.1%} of their pixels are background' in out
    assert f'background constant(threshold={defaults.DEFAULT_BACKGROUND["threshold"]})' in out
    assert '0 labels made, 4 were there' in tool()[1]


@pytest.mark.parametrize('options, background', [
    (['--threshold', '0.8'], {'type': 'constant', 'threshold': 0.8}),
    (['--threshold', '0'], {'type': 'constant', 'threshold': 0}), (['--alpha', '4'], {'type': 'power', 'alpha': 4}),
    (['--cfg-options', 'background.threshold=0.7'], {'type': 'constant', 'threshold': 0.7}),
])
def test_background(tool, folder, options, background):
    assert tool(*options)[0] == 0
    assert manifest(folder)['background'] == background
    share = np.mean([read_label(folder / f'labels/{stem}.png') == 0 for stem in 'abcd'])
    assert (share == 0) == (background.get('threshold') == 0)


@pytest.mark.parametrize('options, unary, srgb', [
    (['--crf'], 'label', 5), (['--crf', '--crf-unary', 'softmax'], 'softmax', 13),
    (['--config', str(ROOT / 'configs/_base_/postprocessing/crf_softmax.py')], 'softmax', 13),
    (['--config', str(ROOT / 'configs/_base_/postprocessing/crf_label.py')], 'label', 5),
])
def test_crf(tool, folder, options, unary, srgb):
    code, out, _ = tool(*options, '--cfg-options', 'postprocessors.0.iterations=2')
    assert code == 0
    crf, = manifest(folder)['postprocessors']
    assert (crf['type'], crf['unary'], crf['bilateral_srgb'], crf['iterations']) == ('DenseCRF', unary, srgb, 2)
    assert manifest(folder)['background'] == defaults.DEFAULT_CRF_BACKGROUND[unary]
    assert ' -> DenseCRF(' in out


def test_config_equals_options(tool, folder):
    assert tool('--crf')[0] == 0
    code, out, _ = tool('--config', str(ROOT / 'configs/_base_/postprocessing/crf_label.py'))
    assert code == 0 and '4 were there' in out


def test_config_with_a_component_of_ones_own(tool, folder, monkeypatch):
    (folder / 'mmwsss_test_plugin.py').write_text(
        'from mmwsss.registry import POSTPROCESSORS\n'
        'from mmwsss.structures import ScoreMap\n'
        "@POSTPROCESSORS.register_module(name='TestEverythingIs')\n"
        'class EverythingIs:\n'
        '    def __init__(self, row):\n'
        '        self.row = row\n'
        '    def __call__(self, score_map, image):\n'
        '        scores = score_map.scores * 0\n'
        '        scores[self.row] = 1\n'
        '        return ScoreMap(scores, score_map.classes)\n')
    (folder / 'own.py').write_text(
        "custom_imports = dict(imports=['mmwsss_test_plugin'])\n"
        "postprocessors = [dict(type='TestEverythingIs', row=1)]\n")
    monkeypatch.syspath_prepend(str(folder))
    assert tool('--config', str(folder / 'own.py'), '--cfg-options', 'postprocessors.0.row=2')[0] == 0
    assert (read_label(folder / 'labels/a.png') == 2).all()
    assert manifest(folder)['background'] == defaults.DEFAULT_BACKGROUND


@pytest.mark.parametrize('options, message', [
    (['--threshold', '1'], 'threshold'), (['--threshold', '-0.1'], 'threshold'), (['--threshold', 'nan'], 'threshold'),
    (['--alpha', '0'], 'alpha'), (['--crf-unary', 'label'], '--crf'), (['--num-workers', '-1'], 'num_workers'),
    (['--config', 'nowhere.py'], 'nowhere.py'), (['--classes', 'cat'], 'manifest.json'),
    (['--cfg-options', 'postprocessors.3.iterations=2'], '--cfg-options'),
    (['--cfg-options', 'backgruond.threshold=0.2'], 'backgruond'),
    (['--cfg-options', 'background=3'], 'background'), (['--cfg-options', 'postprocessors=3'], 'postprocessors'),
])
def test_wrong_options_end_in_one_line(tool, folder, options, message):
    assert message in error_of(tool(*options))
    assert not (folder / 'labels').exists()


def test_config_excludes_the_other_options(tool, folder):
    (folder / 'own.py').write_text("background = dict(type='constant', threshold=0.2)\n")
    for options in (['--crf'], ['--threshold', '0'], ['--alpha', '4']):
        assert '--cfg-options' in error_of(tool('--config', str(folder / 'own.py'), *options))
    (folder / 'own.py').write_text("backgruond = dict(type='constant', threshold=0.2)\n")
    assert 'own.py: unknown setting backgruond' in error_of(tool('--config', str(folder / 'own.py')))


def test_threshold_and_alpha_exclude_each_other(tool):
    assert tool('--threshold', '0.2', '--alpha', '4')[0] == 2


def test_crf_with_pytorch_alone(tool, folder, monkeypatch):
    for name in ('numba', 'pydensecrf', 'pydensecrf.densecrf'):
        monkeypatch.setitem(sys.modules, name, None)
    config = ['--config', str(ROOT / 'configs/_base_/postprocessing/crf_label.py'), '--cfg-options']
    assert 'pip install numba' in error_of(tool(*config, 'postprocessors.0.backend=numba'))
    assert not (folder / 'labels').exists()
    assert tool('--crf')[0] == 0


def test_skipped_files(tool, folder):
    path = cam_path(folder / 'cams', 'b')
    path.write_bytes(path.read_bytes()[:100])
    code, out, err = tool()
    assert code == 3
    assert '3 labels made' in out
    assert err.startswith(f'left out: {path}: ') and err.count('\n') == 1


def test_missing_cam(tool, folder):
    cam_path(folder / 'cams', 'c').unlink()
    assert 'c.npz: no such CAM file (1 of 4 are missing)' in error_of(tool())
    code, _, err = tool('--missing-cam', 'skip')
    assert code == 3 and 'c.npz' in err


def test_other_settings_in_the_same_folder(tool):
    assert tool('--threshold', '0.2')[0] == 0
    assert 'manifest.json' in error_of(tool('--threshold', '0.3'))


@pytest.mark.parametrize('name, unary, foreground, background, conflict', [
    ('softmax', 'softmax', {'type': 'power', 'alpha': 4}, {'type': 'power', 'alpha': 32}, 'background'),
    ('hard', 'label', {'type': 'constant', 'threshold': 0.3}, {'type': 'constant', 'threshold': 0.05}, 'class'),
])
def test_labels_of_confident_pixels(tool, folder, name, unary, foreground, background, conflict):
    code, out, err = tool('--config', str(ROOT / f'configs/_base_/postprocessing/affinity_label_{name}.py'))
    assert (code, err) == (0, '')
    assert manifest(folder)['background'] == {'type': 'confident', 'foreground': foreground,
                                              'background': background, 'conflict': conflict}
    assert manifest(folder)['postprocessors'] == [{'type': 'DenseCRF', **CRF_PRESETS[unary]}]
    share = np.mean([read_label(folder / f'labels/{stem}.png') == 255 for stem in 'abcd'])
    assert f'are background, {share:.1%} ignored' in out
    key, = set(foreground) - {'type'}
    assert (f'background confident(foreground={foreground["type"]}({key}={foreground[key]}), '
            f'background={background["type"]}({key}={background[key]}), conflict={conflict}) -> DenseCRF(') in out


def test_labels_of_confident_pixels_without_crf(tool, folder):
    config = ['--config', str(ROOT / 'configs/_base_/postprocessing/affinity_label_hard.py'), '--cfg-options']
    assert tool(*config, 'postprocessors=[]', 'background.foreground.threshold=0.7')[0] == 0
    assert manifest(folder)['background']['foreground']['threshold'] == 0.7
    assert manifest(folder)['postprocessors'] == []
    assert (read_label(folder / 'labels/a.png') == 255).any()
    assert 'more background' in error_of(tool(*config, 'postprocessors=[]', 'background.foreground.threshold=0',
                                              out='others'))
