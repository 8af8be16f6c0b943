import json
import sys

import numpy as np
import pytest

from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets.transforms import read_saliency
from mmwsss.structures import read_label, write_label
from mmwsss.structures.image_file import read_image
from mmwsss.visualization import conflict_temperature


@pytest.fixture
def tool(load_tool, monkeypatch, capsys, tmp_path):
    """Runs the tool in this process: (exit code, stdout, stderr)."""
    module = load_tool('draw_saliency_conflict.py')

    def run(root, *options, labels=None, split='train'):
        monkeypatch.setattr(sys, 'argv', ['draw_saliency_conflict.py', str(labels or root / 'SegmentationClass'),
                                          '--data-root', str(root), '--split', split, '--out-dir',
                                          str(tmp_path / 'out'), *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return (caught.value.code, *capsys.readouterr())

    return run


def test_writes_pictures_and_the_histogram_of_the_split(tool, generated_root, tmp_path):
    code, stdout, stderr = tool(generated_root, '--num-images', '3', '--height', '64')
    assert (code, stderr) == (0, '')
    stems = (generated_root / 'ImageSets/train.txt').read_text().split()
    expected = [conflict_temperature(read_label(generated_root / 'SegmentationClass' / f'{stem}.png'),
                                     read_saliency(generated_root / 'Saliency' / f'{stem}.png')) for stem in stems]
    report = json.loads((tmp_path / 'out/tau.json').read_text())
    assert report['num_images'] == len(stems) == sum(report['counts'])
    assert report['mean'] == pytest.approx(sum(expected) / len(stems))
    assert f'tau {report["mean"]:.3f} on average of 12 images, 3 of them drawn' in stdout
    few = read_image(tmp_path / 'out/conflict.png')
    assert read_image(tmp_path / 'out/tau.png').size
    assert tool(generated_root, '--num-images', '50', '--height', '64')[0] == 0
    assert read_image(tmp_path / 'out/conflict.png').shape[0] - few.shape[0] == 9 * (64 + 6 + 18)


def test_images_without_a_map_are_left_out(tool, generated_copy, tmp_path):
    stems = (generated_copy / 'ImageSets/train.txt').read_text().split()
    (generated_copy / 'Saliency' / f'{stems[0]}.png').unlink()
    (generated_copy / 'SegmentationClass' / f'{stems[1]}.png').write_bytes(b'no image')
    code, stdout, stderr = tool(generated_copy, '--height', '32')
    assert code == 3 and '10 images, 8 of them drawn' in stdout
    lines = stderr.splitlines()
    assert len(lines) == 2 and all(line.startswith('left out: ') for line in lines)
    assert stems[0] in stderr and 'missing saliency map' in stderr and stems[1] in stderr


def test_labels_that_ignore_everything_have_no_tau(tool, generated_copy, tmp_path):
    stems = (generated_copy / 'ImageSets/train.txt').read_text().split()
    assert tool(generated_copy)[0] == 0
    before = json.loads((tmp_path / 'out/tau.json').read_text())
    path = generated_copy / 'SegmentationClass' / f'{stems[0]}.png'
    left_out = conflict_temperature(read_label(path), read_saliency(generated_copy / 'Saliency' / f'{stems[0]}.png'))
    write_label(path, np.full_like(read_label(path), 255))
    code, _, stderr = tool(generated_copy)
    report = json.loads((tmp_path / 'out/tau.json').read_text())
    assert code == 3 and stderr.count('\n') == 1 and f'{path}: every pixel is 255' in stderr
    assert report['num_images'] == 11 and report['mean'] == pytest.approx((12 * before['mean'] - left_out) / 11)
    for stem in stems:
        path = generated_copy / 'SegmentationClass' / f'{stem}.png'
        write_label(path, np.full_like(read_label(path), 255))
    code, _, stderr = tool(generated_copy)
    assert code == 1 and stderr.count('\n') == 1 and 'so there is no tau' in stderr


def test_wrong_options(tool, generated_root, tmp_path):
    for options, more, message in (
            (('--num-images', '0'), {}, '--num-images 0: must be'), (('--height', '9999'), {}, '--height 9999: must'),
            (('--saliency-dir', 'nowhere'), {}, 'nowhere: there are no saliency maps'),
            ((), dict(labels=tmp_path / 'absent'), 'absent: there are no masks'),
            ((), dict(split='absent'), 'absent.txt: no such split'),
            (('--out-dir', str(generated_root / 'Saliency')), {}, 'is a folder of the data set'),
            (('--out-dir', str(tmp_path / 'made/new')), dict(labels=tmp_path / 'made'), 'is a folder of the data set')):
        code, stdout, stderr = tool(generated_root, *options, **more)
        assert (code, stdout) == (1, '') and message in stderr and stderr.count('\n') == 1
    assert not (tmp_path / 'out').exists()
