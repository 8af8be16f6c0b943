import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import write_saliency_onnx
from warm_python import warm_python

from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets.transforms import read_saliency
from mmwsss.saliency.saliency_maps import make_saliency
from mmwsss.utils.errors import UserError

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/make_saliency.py'


@pytest.fixture
def folder(tmp_path):
    """Four images, data/, and a model, m.onnx."""
    rng = np.random.default_rng(0)
    (tmp_path / 'data/JPEGImages').mkdir(parents=True)
    (tmp_path / 'data/ImageSets').mkdir()
    (tmp_path / 'data/ImageSets/train.txt').write_text('a\nb\nc\n')
    for stem in 'abcd':
        Image.fromarray(rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)).save(
            tmp_path / f'data/JPEGImages/{stem}.jpg')
    write_saliency_onnx(tmp_path / 'm.onnx', [[1., 0., 0.]], size=16)
    return tmp_path


@pytest.fixture
def tool(load_tool, folder, monkeypatch, capsys):
    """Runs the tool in this process: (exit code, stdout, stderr)."""
    module = load_tool('make_saliency.py')

    def run(*options, model='m.onnx', root='data'):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), str(folder / model), '--data-root', str(folder / root), '--size',
                                          '16', '--num-workers', '0', *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return (caught.value.code, *capsys.readouterr())

    return run


def error_of(result):
    code, out, err = result
    assert (code, out) == (1, '')
    assert err.startswith('error: ') and err.count('\n') == 1, err
    return err


def test_a_model_in_a_package(folder, monkeypatch):
    (folder / 'site/some_saliency/models').mkdir(parents=True)
    (folder / 'm.onnx').rename(folder / 'site/some_saliency/models/m.onnx')
    (folder / 'site/some_saliency/__init__.py').write_text('raise RuntimeError("is not imported")')
    monkeypatch.syspath_prepend(folder / 'site')
    options = dict(data=folder / 'data', split='train', size=16, num_workers=0)
    assert make_saliency('package://some_saliency/models/m.onnx', **options)['made'] == 3
    assert make_saliency('package://some_saliency/models/m.onnx', **options)['kept'] == 3
    with pytest.raises(UserError, match=r'package other is not installed; pip install other'):
        make_saliency('package://other/m.onnx', **options)


def test_a_process_of_its_own(folder):
    command = [warm_python(), '-W', 'ignore', str(TOOL), 'm.onnx', '--data-root', 'data', '--split', 'train',
               '--size', '16', '--num-workers', '2']
    done = subprocess.run(command, cwd=folder, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True,
                          text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == 'data/Saliency: 3 saliency maps made, 0 were there, for 3 images of split train\n'
    assert sorted(path.name for path in (folder / 'data/Saliency').iterdir()) == [
        'a.png', 'b.png', 'c.png', 'manifest.json']


def test_options(tool, folder):
    code, out, err = tool('--out-dir', str(folder / 'maps'), '--batch-size', '2')
    assert (code, err) == (0, '')
    assert out == f'{folder}/maps: 4 saliency maps made, 0 were there, for 4 images of all images\n'
    assert all(read_saliency(folder / f'maps/{stem}.png').shape == (16, 24) for stem in 'abcd')
    assert '1 saliency maps made, 3 were there' in _without(folder / 'maps/b.png', tool, '--out-dir', folder / 'maps')


def _without(path, tool, *options):
    path.unlink()
    return tool(*map(str, options))[1]


def test_img_dir(tool, folder):
    (folder / 'data/JPEGImages').rename(folder / 'data/pictures')
    assert '4 saliency maps made' in tool('--img-dir', 'pictures')[1]


def test_skipped_files(tool, folder):
    path = folder / 'data/JPEGImages/b.jpg'
    path.write_bytes(path.read_bytes()[:200])
    code, out, err = tool('--split', 'train')
    assert code == 3
    assert '2 saliency maps made, 0 were there, for 3 images' in out
    assert err.startswith(f'left out: {path}: unreadable image') and err.count('\n') == 1


def test_every_image_unreadable(tool, folder):
    for path in (folder / 'data/JPEGImages').iterdir():
        path.write_bytes(b'')
    assert 'a.jpg: empty file (and not one of the 4' in error_of(tool())


def test_missing_model(tool):
    message = error_of(tool(model='u2net.onnx'))
    assert 'u2net.onnx: no such model file' in message and 'https://github.com/danielgatis/rembg/releases' in message


def test_model_that_is_none(tool, folder):
    assert 'a.jpg: is no ONNX model' in error_of(tool(model='data/JPEGImages/a.jpg'))


def test_maps_made_elsewhere(tool, folder):
    (folder / 'data/Saliency').mkdir()
    (folder / 'data/Saliency/a.png').write_bytes(b'')
    message = error_of(tool())
    assert 'data/Saliency: has files but no manifest.json' in message and '--out-dir' in message


@pytest.mark.parametrize('options', [['--batch-size', '0'], ['--size', '-1'], ['--num-workers', '-2'],
                                     ['--split', 'nowhere']])
def test_wrong_options_end_in_one_line(tool, folder, options):
    assert options[0].strip('-').replace('-', '_').split('_')[0] in error_of(tool(*options))
    assert not (folder / 'data/Saliency').exists()
