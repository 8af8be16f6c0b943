import numpy as np
import pytest

from mmwsss.apis import browse as module
from mmwsss.apis.browse import browse
from mmwsss.cli.main import main
from mmwsss.config.config import load_config
from mmwsss.structures.image_file import read_image
from mmwsss.utils.errors import UserError


@pytest.fixture
def cells(monkeypatch):
    """What goes into the table: rows and captions."""
    seen = {}
    side_by_side = module.side_by_side

    def record(rows, titles, captions, height):
        seen.update(rows=rows, titles=titles, captions=captions)
        return side_by_side(rows, titles, captions, height)

    monkeypatch.setattr(module, 'side_by_side', record)
    return seen


def test_views_are_what_the_epochs_of_a_training_see(tiny_cam_cfg, cells, tmp_path):
    assert browse(tiny_cam_cfg, tmp_path / 'a.png', num_images=3, views=4) == 3
    for row in cells['rows']:
        original, *views = row
        assert len(views) == 4 and max(original.shape) == 64
        assert all(max(view.shape[:2]) <= 48 for view in views)  # the crop; smaller images are padded in the batch
        assert not all(np.array_equal(views[0], view) for view in views[1:])  # the pipeline is random
    assert all(': ' in caption for caption in cells['captions'])
    first = cells['rows']
    browse(tiny_cam_cfg, tmp_path / 'b.png', num_images=3, views=4)
    assert all(np.array_equal(a, b) for one, other in zip(first, cells['rows']) for a, b in zip(one, other))
    assert read_image(tmp_path / 'a.png').shape[1] > 4 * 48


def test_segmentor_on_the_command_line(repo_root, generated_root, cells, tmp_path, capsys):
    words = ['browse', 'deeplab_efflite0_small_saliency', '--data-root', generated_root, '--num-images', '2', '--views',
             '2', '--out', tmp_path / 'a.png', '--cfg-options', 'train_dataloader.dataset.require_saliency=False']
    has_saliency = (generated_root / 'Saliency').is_dir()
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 0, capsys.readouterr().err
    assert '2 images, 2 views of each' in capsys.readouterr().out
    assert all(len(row) == 1 + 2 * (1 + has_saliency) for row in cells['rows'])
    assert all(caption.split(': ')[1] != 'no labels' for caption in cells['captions'])


def test_mistakes(repo_root, generated_root, tiny_cam_cfg, tmp_path):
    with pytest.raises(UserError, match=r'a \.png file'):
        browse(tiny_cam_cfg, tmp_path / 'a.jpg')
    with pytest.raises(UserError, match='is a folder of the data set'):
        browse(tiny_cam_cfg, generated_root / 'JPEGImages/a.png')
    with pytest.raises(UserError, match='has no val_dataloader'):
        browse(tiny_cam_cfg, tmp_path / 'a.png', dataloader='val_dataloader')
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root)
    assert browse(cfg, tmp_path / 'test.png', 2, 1, 'test_dataloader') == 2
