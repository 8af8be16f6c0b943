import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from mmwsss.apis.evaluation import evaluate
from mmwsss.apis.evaluation_details import add_details
from mmwsss.cli.main import main
from mmwsss.evaluation import confusion_matrix, label_from_cam
from mmwsss.evaluation.breakdown import IMAGE_COLUMNS, breakdown, image_row
from mmwsss.postprocessing import build_postprocessors, pseudo_label
from mmwsss.structures import (
    CAMFile,
    CAMManifest,
    cam_path,
    label_path,
    open_cam_dir,
    read_label,
    resize_cam,
    write_cam,
)
from mmwsss.structures.cam_file import read_cam
from mmwsss.structures.image_file import read_image
from mmwsss.utils.errors import UserError

CRF = [dict(type='DenseCRF', unary='label', gt_prob=0.7, iterations=2)]


@pytest.fixture
def cams(generated_root, tmp_path):
    """CAMs that see the ground truth through noise."""
    rng = np.random.default_rng(0)
    names = tuple((generated_root / 'classes.txt').read_text().split())
    open_cam_dir(tmp_path / 'cams', CAMManifest(None, None, names, {}))
    for stem in (generated_root / 'ImageSets/train.txt').read_text().split():
        mask = read_label(generated_root / f'SegmentationClass/{stem}.png')
        classes = np.unique(mask[(mask > 0) & (mask < 255)]).astype(np.int64) - 1
        maps = np.stack([(mask == k + 1) * .6 + .4 * rng.random(mask.shape) for k in classes])
        write_cam(cam_path(tmp_path / 'cams', stem), CAMFile(classes, maps.astype(np.float16), mask.shape))
    return tmp_path / 'cams'


def expected(cams, root, threshold, crf=False):
    found = {}
    for stem in (root / 'ImageSets/train.txt').read_text().split():
        cam = read_cam(cam_path(cams, stem))
        label = label_from_cam(resize_cam(cam.cam, cam.size), cam.classes, threshold)
        if crf:
            label = pseudo_label(cam, read_image(root / f'JPEGImages/{stem}.jpg'),
                                 dict(type='constant', threshold=threshold), build_postprocessors(CRF))
        found[stem] = confusion_matrix(label, read_label(root / f'SegmentationClass/{stem}.png'), 3)
    return found


def rows_of(path):
    with open(path, newline='') as file:
        return [{name: value and (value if name == 'image' else float(value)) for name, value in row.items()}
                for row in csv.DictReader(file)]


def expected_rows(found):
    return [{name: '' if value is None else pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
             for name, value in image_row(stem, confusion).items()} for stem, confusion in found.items()]


def test_details_are_those_at_the_best_threshold(cams, generated_root, tmp_path):
    report = evaluate(cams, generated_root, 'train', num_workers=0)
    full = add_details(report, cams, generated_root, 'train', CRF, tmp_path / 'new.csv', num_workers=0)
    assert {name: full[name] for name in report} == report
    before = expected(cams, generated_root, report['threshold'])
    assert full['details'] == breakdown(before, tuple(report['per_class'])[1:])
    assert full['details']['mIoU'] == pytest.approx(report['mIoU'])  # two ways to the same figure
    after = expected(cams, generated_root, report['threshold'], crf=True)
    assert full['refined'] == dict(breakdown(after, tuple(report['per_class'])[1:]), postprocessors=CRF)
    plain, refined = rows_of(tmp_path / 'new.csv'), rows_of(tmp_path / 'new_refined.csv')
    assert plain == expected_rows(before) and refined == expected_rows(after)
    assert list(plain[0]) == list(IMAGE_COLUMNS)
    assert all(abs(row['mIoU'] - other['mIoU']) > 1e-3 for row, other in zip(plain, refined))


def test_command_for_cams_and_labels(cams, generated_root, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(['eval', str(cams), '--data-root', str(generated_root), '--split', 'train', '--details', '--per-image',
              str(tmp_path / 'new/images.csv'), '--num-workers', '0'])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and 'false foreground' in out and 'with CRF' not in out
    assert len((tmp_path / 'new/images.csv').read_text().splitlines()) == 13
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['images.csv'], 'nothing was refined'

    masks = generated_root / 'SegmentationClass'
    report = evaluate(masks, generated_root, 'val', num_workers=0)
    full = add_details(report, masks, generated_root, 'val', num_workers=0)
    assert full['details']['mIoU'] == 1 and set(full['details']['errors'].values()) == {0}
    with pytest.raises(UserError, match='holds label maps'):
        add_details(report, masks, generated_root, 'val', CRF)


def test_images_that_were_left_out_are_no_part(cams, generated_copy):
    stems = (generated_copy / 'ImageSets/train.txt').read_text().split()
    cam_path(cams, stems[0]).unlink()
    label_path(generated_copy / 'SegmentationClass', stems[1]).unlink()
    report = evaluate(cams, generated_copy, 'train', num_workers=0, missing='skip')
    full = add_details(report, cams, generated_copy, 'train', num_workers=0)
    assert full['details']['num_images'] == report['num_images'] == 10
    assert full['details']['mIoU'] == pytest.approx(report['mIoU'])
    # A mask of another size, too.
    Image.new('L', (3, 4)).save(label_path(generated_copy / 'SegmentationClass', stems[2]))
    report = evaluate(cams, generated_copy, 'train', num_workers=0, missing='skip')
    full = add_details(report, cams, generated_copy, 'train', num_workers=0)
    assert full['details']['num_images'] == report['num_images'] == 9


def test_names_with_dots_are_not_cut(cams, generated_copy):
    """An image that was left out takes none of a similar name with it."""
    split = generated_copy / 'ImageSets/train.txt'
    stem = split.read_text().split()[0]
    with open(split, 'a') as file:
        file.write(f'\n{stem}.2\n')
    mask = label_path(generated_copy / 'SegmentationClass', stem)
    shutil.copy(mask, mask.with_name(f'{stem}.2.png'))
    report = evaluate(cams, generated_copy, 'train', num_workers=0)
    assert len(report['skipped']) == 1
    full = add_details(report, cams, generated_copy, 'train', num_workers=0)
    assert full['details']['num_images'] == report['num_images'] == 12
    assert full['details']['mIoU'] == pytest.approx(report['mIoU'])


def test_cams_that_are_best_at_threshold_one(cams, generated_root):
    """Those of a classifier that has learnt nothing: all is background, with a CRF too."""
    report = dict(evaluate(cams, generated_root, 'train', num_workers=0), threshold=1.0)
    full = add_details(report, cams, generated_root, 'train', CRF, num_workers=0)
    for name in ('details', 'refined'):
        assert full[name]['errors']['false_foreground'] == full[name]['errors']['wrong_class'] == 0
