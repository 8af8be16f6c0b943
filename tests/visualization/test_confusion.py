import numpy as np
import pytest

from mmwsss.apis.evaluation import label_confusion
from mmwsss.cli.main import main
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import read_label, write_label
from mmwsss.utils.errors import UserError
from mmwsss.visualization.confusion import plot_confusion, row_shares


def test_row_shares():
    counts = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [2, 2, 3, 1]])
    shares = row_shares(counts)
    np.testing.assert_allclose(shares[0], [.75, .25, 0, 0])
    assert np.isnan(shares[1]).all() and shares[2].sum() == pytest.approx(1)


def test_label_maps_on_the_command_line(generated_root, tmp_path, capsys):
    """Label maps of which a class is taken for another one throughout."""
    counts = np.zeros((4, 4))
    for path in (generated_root / 'SegmentationClass').glob('val_*.png'):
        mask = read_label(path)
        label = np.where(mask == 2, 3, mask).astype(np.uint8)
        write_label(tmp_path / 'labels' / path.name, label)
        for true, found in zip(mask[mask < 255], label[mask < 255]):
            counts[true, found] += 1
    with pytest.raises(SystemExit) as stop:
        main(['draw', 'confusion', str(tmp_path / 'labels'), '--data-root', str(generated_root), '--split', 'val',
              '--out', str(tmp_path / 'a.png'), '--num-workers', '0'])
    out = capsys.readouterr().out
    classes = (generated_root / 'classes.txt').read_text().split()
    assert stop.value.code == 0
    if counts[2].sum():
        assert f'{classes[1]} as {classes[2]} 100 %' in out
    assert read_image(tmp_path / 'a.png').std() > 0


def test_cam_files_are_no_label_maps(generated_root, tmp_path):
    for path in (generated_root / 'SegmentationClass').glob('val_*.png'):
        (tmp_path / f'{path.stem}.npz').touch()
    with pytest.raises(UserError, match='holds CAM files and no label maps'):
        label_confusion(tmp_path, generated_root, 'val', num_workers=0)


def test_the_picture_is_checked_before_the_work(generated_root, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(['draw', 'confusion', str(tmp_path / 'nowhere'), '--data-root', str(generated_root), '--out',
              str(tmp_path / 'a.bmp')])
    assert stop.value.code == 1 and 'a.bmp: a picture can be written as .png' in capsys.readouterr().err


def test_other_suffix(tmp_path):
    with pytest.raises(UserError, match='change the suffix'):
        plot_confusion(np.eye(2, 3, dtype=int), ['background', 'a'], tmp_path / 'a.gif')
