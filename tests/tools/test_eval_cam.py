import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from warm_python import warm_python

from mmwsss.apis.evaluation import evaluate_cam_dir, evaluate_label_dir
from mmwsss.cli.run_cli import run_cli
from mmwsss.structures import CAMFile, CAMManifest, cam_path, label_path, open_cam_dir, write_cam, write_label

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/eval_cam.py'


@pytest.fixture
def folder(tmp_path):
    """data/ with two images' masks, their CAMs in cams/ and labels in labels/."""
    rng = np.random.default_rng(0)
    (tmp_path / 'data/ImageSets').mkdir(parents=True)
    (tmp_path / 'data/JPEGImages').mkdir()
    (tmp_path / 'data/ImageSets/train.txt').write_text('a\nb\n')
    (tmp_path / 'data/classes.txt').write_text('cat\ndog\n')
    open_cam_dir(tmp_path / 'cams', CAMManifest(None, None, ('cat', 'dog')))
    for stem in 'ab':
        label = rng.integers(0, 3, (16, 24)).astype(np.uint8)
        write_label(label_path(tmp_path / 'data/SegmentationClass', stem), label)
        write_label(label_path(tmp_path / 'labels', stem), label)
        write_cam(cam_path(tmp_path / 'cams', stem),
                  CAMFile(np.array([0, 1]), rng.random((2, 4, 6)).astype(np.float16), (16, 24)))
    return tmp_path


@pytest.fixture
def tool(load_tool, folder, monkeypatch, capsys):
    """Runs the tool in this process: (exit code, stdout, stderr)."""
    module = load_tool('eval_cam.py')
    monkeypatch.setenv('COLUMNS', '100')

    def run(source, *options, split='train'):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), str(folder / source), '--data-root', str(folder / 'data'),
                                          '--split', split, '--num-workers', '0', *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return (caught.value.code, *capsys.readouterr())

    return run


def test_cams(folder, tool):
    out, plot = folder / 'new/eval.json', folder / 'new/curve.png'
    code, stdout, stderr = tool('cams', '--out', str(out), '--plot', str(plot))
    assert (code, stderr) == (0, '')
    report = json.loads(out.read_text())
    assert report == evaluate_cam_dir(folder / 'cams', folder / 'data', 'train', num_workers=0)
    assert {'mIoU', 'threshold', 'per_class', 'm_FN', 'm_FP', 'precision', 'recall', 'curve'} <= set(report)
    assert f'{100 * report["mIoU"]:.2f}' in stdout and '(oracle: chosen on ground truth)' in stdout
    assert f'at the oracle threshold {report["threshold"]:g}' in stdout
    assert all(name in stdout for name in ('background', 'cat', 'dog'))
    assert plot.read_bytes().startswith(b'\x89PNG')


def test_labels(folder, tool):
    code, stdout, _ = tool('labels', '--out', str(folder / 'eval.json'))
    assert code == 0 and 'mIoU 100.00 %, 2 images' in stdout and 'oracle' not in stdout
    expected = evaluate_label_dir(folder / 'labels', folder / 'data', 'train', num_workers=0)
    assert json.loads((folder / 'eval.json').read_text()) == expected
    code, _, stderr = tool('labels', '--plot', str(folder / 'curve.png'))
    assert code == 1 and 'no curve to plot' in stderr and not (folder / 'curve.png').exists()


def test_without_masks(folder, tool):
    (folder / 'data/SegmentationClass').rename(folder / 'masks')
    code, stdout, stderr = tool('cams', '--out', str(folder / 'eval.json'))
    assert code == 0 and 'evaluation is skipped' in stdout and stderr == ''
    assert not (folder / 'eval.json').exists()
    code, stdout, _ = tool('cams', '--seg-dir', str(folder / 'masks'), '--out', str(folder / 'eval.json'))
    assert code == 0 and '2 images' in stdout
    for command in (('nope', ), ('cams', '--seg-dir', 'mask')):  # mistakes, and no data without masks
        code, stdout, stderr = tool(*command, '--out', str(folder / 'eval.json'))
        assert (code, stdout, stderr.count('\n')) == (1, '', 1)
        assert f'/{command[-1]}: no such folder; ' in stderr and (folder / 'eval.json').exists()
    # What an evaluation has written that could be made does not pass for the result of one that could not.
    for name in ('curve.png', 'images.csv'):
        (folder / name).touch()
    assert tool('cams', '--out', str(folder / 'eval.json'), '--plot', str(folder / 'curve.png'), '--per-image',
                str(folder / 'images.csv'))[0] == 0
    assert not any((folder / name).exists() for name in ('eval.json', 'curve.png', 'images.csv'))


@pytest.mark.parametrize(('options', 'message'), [
    (('--plot', 'x.xyz'), 'x.xyz: a picture can be written as .png'), (('--plot', 'cams'), 'cams: is a folder'),
    (('--out', 'cams'), 'cams: is a folder; name a file in it'), (('--per-image', 'cams'), 'cams: is a folder'),
    (('--out', 'data/classes.txt/x.json'), 'classes.txt is no folder; choose another place')])
def test_names_of_results_are_checked_first(folder, tool, monkeypatch, options, message):
    monkeypatch.setattr('mmwsss.apis.evaluate', None)
    code, _, stderr = tool('cams', options[0], str(folder / options[1]))
    assert code == 1 and message in stderr and stderr.count('\n') == 1


def test_skipped_files(folder, tool):
    label_path(folder / 'data/SegmentationClass', 'b').unlink()
    code, stdout, stderr = tool('cams', '--out', str(folder / 'eval.json'))
    assert code == 3 and '1 images' in stdout and 'b.png: no such mask' in stderr
    assert len(json.loads((folder / 'eval.json').read_text())['skipped']) == 1


def test_missing_cam(folder, tool):
    cam_path(folder / 'cams', 'b').unlink()
    (folder / 'data/JPEGImages').rmdir()  # so the image cannot be the reason
    code, _, stderr = tool('cams', '--out', str(folder / 'eval.json'))
    assert code == 1 and stderr.startswith('error: ') and 'b.npz: no such file; 1 of the 2' in stderr
    assert stderr.count('\n') == 1 and not (folder / 'eval.json').exists()
    code, stdout, _ = tool('cams', '--missing', 'skip')
    assert code == 3 and '1 images' in stdout


def test_user_errors(tool):
    assert tool('cams', split='nope')[0] == 1
    code, _, stderr = tool('cams', '--classes', 'dog', 'cat')
    assert code == 1 and 'are of the classes' in stderr


def test_as_a_program(folder):
    result = subprocess.run(
        [warm_python(), str(TOOL), 'cams', '--data-root', 'data', '--split', 'train', '--num-workers', '2'],
        cwd=folder, env=dict(os.environ, PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 'at the oracle threshold' in result.stdout
