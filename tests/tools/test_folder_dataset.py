"""A folder of images with a label file, from the command line: no VOC layout, sub folders, no split."""
import json
import shutil
import sys

import numpy as np
import pytest

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import load_config
from mmwsss.registry import DATASETS
from mmwsss.structures import read_cam, read_label

FOLDERS = ('', 'x', 'x/deep', 'with space')


@pytest.fixture(scope='module')
def photographs(generated_root, tmp_path_factory):
    """images/** in four folders, labels.csv, classes.txt, masks/** of half of the 12 images."""
    root = tmp_path_factory.mktemp('folder') / 'data'
    rows = ['image,labels']
    labels = json.loads((generated_root / 'labels.json').read_text())
    for i in range(12):
        source, name, folder = f'train_{i:05}', f'photo {i}', FOLDERS[i % 4]
        for place, copy, extension in (('images', 'JPEGImages', 'jpg'), ('masks', 'SegmentationClass', 'png')):
            if place == 'masks' and i % 2:
                continue
            (root / place / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(generated_root / copy / f'{source}.{extension}', root / place / folder / f'{name}.{extension}')
        rows.append(f'{folder}/{name}.jpg,{";".join(labels[source])}')
    (root / 'labels.csv').write_text('\n'.join(rows))
    (root / 'part.txt').write_text('photo 0\nphoto 1\n')  # each line reads like one of VOC's two-column lists
    shutil.copy(generated_root / 'classes.txt', root)
    return root


@pytest.fixture
def tool(load_tool, monkeypatch, capsys):
    """Runs a tool in this process and returns what it printed; its exit code must be the one given."""
    def run(name, *arguments, code=0):
        module = load_tool(f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        out, err = capsys.readouterr()
        assert caught.value.code == code, err
        return out + err
    return run


def test_from_photographs_to_a_segmentation_data_set(photographs, tool, repo_root, tiny_cam_options, tmp_path):
    config = repo_root / 'configs/cam/cam_efflite0_folder.py'
    options = ['--data-root', photographs, '--cfg-options',
               *(f'{key}={value}' for key, value in {**tiny_cam_options, 'train_cfg.max_epochs': 1}.items())]
    tool('train', config, '--work-dir', tmp_path / 'train', *options)
    checkpoint, cams = tmp_path / 'train/epoch_1.pth', tmp_path / 'cams'
    assert '12 CAM files made' in tool('make_cam', config, checkpoint, '--out-dir', cams, *options)
    part = tool('make_cam', config, checkpoint, '--out-dir', tmp_path / 'few', '--split', 'part.txt', *options)
    assert '2 CAM files made' in part
    stems = [f'photo {i}' for i in range(12)]
    assert sorted(path.stem for path in cams.glob('*.npz')) == sorted(stems)

    data = ['--data-root', photographs, '--img-dir', 'images', '--num-workers', 0]
    assert '12 labels made' in tool('make_pseudo_label', cams, *data, '--out-dir', tmp_path / 'labels')
    part = tool('make_pseudo_label', cams, *data, '--out-dir', tmp_path / 'part', '--split', 'part.txt')
    assert '2 labels made, 0 were there, for 2 images of part.txt' in part
    # CAMs and labels, all images and a split. Half of the images have no mask, and are listed.
    for folder in ('cams', 'labels'):
        report = tool('eval_cam', tmp_path / folder, *data, '--seg-dir', 'masks', code=3)
        assert ', 6 images' in report and 'photo 1.png: no such mask' in report
    assert 'elsewhere: no such folder' in tool('eval_cam', cams, *data, '--seg-dir', 'elsewhere', code=1)
    # Nothing need be said where the folders have their usual names.
    assert tool('eval_cam', cams, '--data-root', photographs, '--num-workers', 0, code=3).count(', 6 images') == 1
    report = tool('eval_cam', cams, *data, '--seg-dir', 'masks', '--split', photographs / 'part.txt', code=3)
    assert ', 1 images' in report

    segmentation = load_config(repo_root / 'configs/segmentation/deeplab_efflite0_folder.py', photographs,
                               {'train_dataloader.dataset.seg_dir': str(tmp_path / 'labels')})
    train = DATASETS.build(segmentation.train_dataloader.dataset)
    infos = {info['stem']: info for info in map(train.get_data_info, range(len(train)))}
    assert sorted(infos) == sorted(stems) and train.skipped == []
    for i, stem in enumerate(stems):
        assert infos[stem]['img_path'] == str(photographs / 'images' / FOLDERS[i % 4] / f'{stem}.jpg')
        assert infos[stem]['seg_map_path'] == str(tmp_path / 'labels' / f'{stem}.png')
        label, cam = read_label(infos[stem]['seg_map_path']), read_cam(cams / f'{stem}.npz')
        assert label.shape == tuple(cam.size) == (infos[stem]['height'], infos[stem]['width'])
        assert set(np.unique(label)) <= {0, *(cam.classes + 1)}
    assert train[0]['inputs'].shape[0] == 3
    test = DATASETS.build(segmentation.test_dataloader.dataset)
    assert len(test) == 6 and len(test.skipped) == 6
    assert test.get_data_info(0)['seg_map_path'] == str(photographs / 'masks/photo 0.png')


def test_images_that_cannot_be_used(photographs, tool, repo_root, tiny_cam_options, tmp_path):
    root = shutil.copytree(photographs, tmp_path / 'data')
    (root / 'images/x/photo 1.jpg').write_bytes(b'no image')
    config = repo_root / 'configs/cam/cam_efflite0_folder.py'
    options = ['--data-root', root, '--cfg-options',
               *(f'{key}={value}' for key, value in {**tiny_cam_options, 'train_cfg.max_epochs': 1}.items())]
    assert 'photo 1.jpg: ' in tool('train', config, '--work-dir', tmp_path / 'train', *options, code=3)
    cams = tmp_path / 'cams'
    tool('make_cam', config, tmp_path / 'train/epoch_1.pth', '--out-dir', cams, *options, code=3)
    data = ['--data-root', root, '--img-dir', 'images', '--num-workers', 0]
    # The tools look into the sub folder to see why there is no CAM.
    assert 'photo 1.jpg: unreadable' in tool('make_pseudo_label', cams, *data, '--out-dir', tmp_path / 'labels', code=3)
    assert 'photo 1.jpg: unreadable' in tool('eval_cam', cams, *data, '--seg-dir', 'masks', code=3)
    (cams / 'photo 2.npz').unlink()
    for name, remedy, more in (('make_pseudo_label', "missing_cam='skip'", ('--out-dir', tmp_path / 'more')),
                               ('eval_cam', "missing='skip'", ('--seg-dir', 'masks'))):
        assert remedy in tool(name, cams, *data, *more, code=1)
