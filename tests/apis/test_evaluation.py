import json
import math

import numpy as np
import pytest
from PIL import Image

from mmwsss.apis import evaluation as module
from mmwsss.apis.evaluation import evaluate, evaluate_cam_dir, evaluate_label_dir
from mmwsss.datasets import DataFolder
from mmwsss.evaluation import CAMHistogram, cam_histogram, cam_report, confusion_matrix, label_report
from mmwsss.structures import (
    CAMFile,
    CAMManifest,
    cam_path,
    label_path,
    open_cam_dir,
    read_cam,
    read_label,
    resize_cam,
    write_cam,
    write_label,
)
from mmwsss.utils.errors import UserError

CLASSES = ('cat', 'dog')
STEMS = [f'img.{i}' for i in range(5)]


@pytest.fixture
def data(tmp_path):
    """Five images in VOC layout with masks, CAM files and label files."""
    rng = np.random.default_rng(0)
    root = tmp_path / 'data'
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets'):
        (root / folder).mkdir(parents=True)
    (root / 'classes.txt').write_text('\n'.join(CLASSES))
    (root / 'ImageSets' / 'train.txt').write_text('\n'.join(STEMS))
    open_cam_dir(tmp_path / 'cams', CAMManifest(None, None, CLASSES, dict(class_filter='label')))
    for i, stem in enumerate(STEMS):
        size = (16 + i, 21)
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(root / 'JPEGImages' / f'{stem}.jpg')
        mask = rng.choice([0, 1, 2, 255], size).astype(np.uint8)
        write_label(label_path(root / 'SegmentationClass', stem), mask)
        classes = np.arange(i % 3)
        cam = rng.random((len(classes), math.ceil(size[0] / 4), 6)).astype(np.float16)
        write_cam(cam_path(tmp_path / 'cams', stem), CAMFile(classes, cam, size))
        write_label(label_path(tmp_path / 'labels', stem), rng.choice([0, 1, 2, 255], size).astype(np.uint8))
    return root


def expected_cam_report(root, stems=STEMS, thresholds=tuple(i / 100 for i in range(101)), **extra):
    total = CAMHistogram.zeros(2, len(thresholds))
    for stem in stems:
        cam = read_cam(cam_path(root.parent / 'cams', stem))
        mask = read_label(label_path(root / 'SegmentationClass', stem))
        total += cam_histogram(resize_cam(cam.cam, cam.size), cam.classes, mask, thresholds, 2)
    return cam_report(total, thresholds, CLASSES, len(stems), **dict(dict(class_filter='label', skipped=[]), **extra))


@pytest.mark.parametrize('num_workers', [0, 2])
def test_cam_dir(data, num_workers, monkeypatch):
    monkeypatch.setattr(module, 'CHUNK', 2)
    report = evaluate_cam_dir(data.parent / 'cams', data, 'train', num_workers=num_workers)
    assert report == expected_cam_report(data)
    assert report['num_images'] == 5 and 0 < report['mIoU'] < 1


def test_cam_dir_options(data):
    (data / 'SegmentationClass').rename(data.parent / 'masks')
    with pytest.raises(UserError, match='no ground truth mask of split train'):
        evaluate_cam_dir(data.parent / 'cams', data, 'train')
    said = DataFolder.find(data, classes=list(CLASSES), mask_dir=str(data.parent / 'masks'))
    report = evaluate_cam_dir(data.parent / 'cams', said, 'train', thresholds=[.2, .4], num_workers=0)
    (data.parent / 'masks').rename(data / 'SegmentationClass')
    assert report == expected_cam_report(data, thresholds=[.2, .4])
    for options, message in ((dict(thresholds=[.4, .2]), 'increasing'), (dict(num_workers=-1), 'num_workers'),
                             (dict(missing='ignore'), "missing must be 'error' or 'skip'")):
        with pytest.raises(UserError, match=message):
            evaluate_cam_dir(data.parent / 'cams', data, 'train', **options)


def test_relative_paths(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    assert DataFolder.find('data').has_masks('train')
    assert evaluate_cam_dir('cams', 'data', 'train', num_workers=0) == expected_cam_report(data)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_label_dir(data, num_workers):
    labels = data.parent / 'labels'
    confusion = sum(confusion_matrix(read_label(label_path(labels, stem)),
                                     read_label(label_path(data / 'SegmentationClass', stem)), 2) for stem in STEMS)
    report = evaluate_label_dir(labels, data, 'train', num_workers=num_workers)
    assert report == label_report(confusion, CLASSES, 5, skipped=[])
    assert .1 < report['ignored_share'] < .4


def test_classes_without_class_list(data):
    (data / 'classes.txt').unlink()  # VOC has none
    assert evaluate_cam_dir(data.parent / 'cams', data, 'train', num_workers=0) == expected_cam_report(data)
    with pytest.raises(UserError, match=r'classes\.txt'):
        evaluate_label_dir(data.parent / 'labels', data, 'train', num_workers=0)
    (data.parent / 'labels' / 'manifest.json').write_text(json.dumps(dict(classes=CLASSES)))
    assert list(evaluate_label_dir(data.parent / 'labels', data, 'train')['per_class']) == ['background', *CLASSES]


def test_other_classes(data):
    (data.parent / 'labels' / 'manifest.json').write_text(json.dumps(dict(classes=CLASSES)))
    for folder in ('cams', 'labels'):
        with pytest.raises(UserError, match=rf'{folder}/manifest\.json: the files there are of the classes'):
            evaluate(data.parent / folder, DataFolder.find(data, classes=['dog', 'cat']), 'train')
    (data.parent / 'labels' / 'manifest.json').write_text('{')
    with pytest.raises(UserError, match=r'labels/manifest\.json: cannot be read'):
        evaluate(data.parent / 'labels', data, 'train')
    (data.parent / 'cams' / 'manifest.json').unlink()
    with pytest.raises(UserError, match=r'cams/manifest\.json: no such file'):
        evaluate(data.parent / 'cams', data, 'train')


def test_missing_files(data):
    for stem in STEMS[1:3]:
        cam_path(data.parent / 'cams', stem).unlink()
        label_path(data.parent / 'labels', stem).unlink()
    for folder, suffix in (('cams', 'npz'), ('labels', 'png')):
        with pytest.raises(UserError, match=rf'{folder}/img\.1\.{suffix}: no such file; 2 of the 5 images'):
            evaluate(data.parent / folder, data, 'train')
        report = evaluate(data.parent / folder, data, 'train', missing='skip', num_workers=0)
        assert report['num_images'] == 3 and [reason for _, reason in report['skipped']] == ['no such file'] * 2


def test_unusable_images_have_no_cam(data):
    # The stages before leave them out and say so.
    for stem in STEMS[:2]:
        cam_path(data.parent / 'cams', stem).unlink()
    (data / 'JPEGImages' / f'{STEMS[0]}.jpg').write_bytes(b'no image')
    (data / 'JPEGImages' / f'{STEMS[1]}.jpg').unlink()
    report = evaluate_cam_dir(data.parent / 'cams', data, 'train', num_workers=0)
    (path, reason), (other_path, other_reason) = report['skipped']
    assert path.endswith(f'{STEMS[0]}.jpg') and 'unreadable' in reason
    assert other_path.endswith(STEMS[1]) and other_reason == 'no such image'
    assert report == expected_cam_report(data, STEMS[2:], skipped=report['skipped'])


def test_masks_that_cannot_be_used(data):
    masks = data / 'SegmentationClass'
    label_path(masks, STEMS[0]).unlink()
    write_label(label_path(masks, STEMS[1]), np.zeros((3, 4), np.uint8))
    write_label(label_path(masks, STEMS[2]), np.full((18, 21), 3, np.uint8))
    label_path(masks, STEMS[3]).write_bytes(b'no png')
    reasons = ['no such mask', 'the mask is 3 x 4 instead of 17 x 21', 'has the label 3', 'cannot be read as a PNG']
    for folder in ('cams', 'labels'):
        report = evaluate(data.parent / folder, data, 'train', num_workers=2)
        assert report['num_images'] == 1
        for stem, reason, (path, found) in zip(STEMS, reasons, report['skipped'], strict=False):
            assert path == str(label_path(masks, stem)) and reason in found
        assert len(report['skipped']) == 4
    label_path(masks, STEMS[4]).write_bytes(b'no png')
    with pytest.raises(UserError, match='none of the 5 images can be evaluated'):
        evaluate_cam_dir(data.parent / 'cams', data, 'train', num_workers=0)


def test_masks_that_ignore_everything(data):
    for stem in STEMS:
        path = label_path(data / 'SegmentationClass', stem)
        write_label(path, np.full_like(read_label(path), 255))
    for folder in ('cams', 'labels'):
        with pytest.raises(UserError, match='every pixel of the masks is 255'):
            evaluate(data.parent / folder, data, 'train', num_workers=0)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_damaged_files(data, num_workers):
    cam, label = cam_path(data.parent / 'cams', STEMS[3]), label_path(data.parent / 'labels', STEMS[3])
    for path in (cam, label):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r'img\.3\.npz: not a valid CAM file') as error:
        evaluate_cam_dir(data.parent / 'cams', data, 'train', num_workers=num_workers)
    assert '\n' not in str(error.value)
    with pytest.raises(UserError, match=r'img\.3\.png: cannot be read as a PNG'):
        evaluate_label_dir(data.parent / 'labels', data, 'train', num_workers=num_workers)


def test_unknown_classes_in_files(data):
    write_cam(cam_path(data.parent / 'cams', STEMS[3]),
              CAMFile(np.array([2]), np.ones((1, 5, 6), np.float16), (19, 21)))
    with pytest.raises(UserError, match=r'img\.3\.npz: classes \[2\] are not distinct ids below 2; make it again'):
        evaluate_cam_dir(data.parent / 'cams', data, 'train', num_workers=0)
    write_label(label_path(data.parent / 'labels', STEMS[3]), np.full((19, 21), 3, np.uint8))
    with pytest.raises(UserError, match=r'labels/img\.3\.png: has the label 3'):
        evaluate_label_dir(data.parent / 'labels', data, 'train', num_workers=0)


def test_which_kind(data):
    assert evaluate(data.parent / 'cams', data, 'train', num_workers=0)['oracle_threshold']
    assert not evaluate(data.parent / 'labels', data, 'train', num_workers=0)['oracle_threshold']
    with pytest.raises(UserError, match='neither CAM files'):
        evaluate(data, data, 'train')
    write_label(label_path(data.parent / 'cams', STEMS[0]), np.zeros((16, 21), np.uint8))
    with pytest.raises(UserError, match='both CAM files'):
        evaluate(data.parent / 'cams', data, 'train')


def test_has_masks(data):
    folder = DataFolder.find(data)
    assert folder.has_masks('train')
    assert not DataFolder.find(data, mask_dir='Other').has_masks('train')
    for path in (data / 'SegmentationClass').iterdir():
        path.unlink()
    assert not folder.has_masks('train')
    with pytest.raises(UserError, match='no such split'):
        folder.has_masks('val')


def binary_masks(data):
    """Masks as most tools write those of one class, and labels and CAMs that find every object."""
    (data / 'classes.txt').write_text('crack')
    rng = np.random.default_rng(1)
    cams, labels = data.parent / 'crack cams', data.parent / 'crack labels'
    open_cam_dir(cams, CAMManifest(None, None, ['crack'], {}))
    for i, stem in enumerate(STEMS):
        shown = rng.random((16 + i, 21)) < .3 * (i != 2)
        write_label(label_path(data / 'SegmentationClass', stem), np.where(shown, 255, 0).astype(np.uint8))
        write_label(label_path(labels, stem), np.where(shown, 1, 0).astype(np.uint8))
        write_cam(cam_path(cams, stem), CAMFile(np.array([0]), shown[None].astype(np.float16), shown.shape))
    return cams, labels


@pytest.mark.parametrize('num_workers', [0, 2])
def test_binary_masks_are_refused_or_read(data, num_workers):
    for folder in binary_masks(data):
        with pytest.raises(UserError, match=r'SegmentationClass: the masks hold only 0 and 255.*--mask-values 255=1'):
            evaluate(folder, data, 'train', num_workers=num_workers)
        said = DataFolder.find(data, mask_values={255: 1})
        report = evaluate(folder, said, 'train', num_workers=num_workers)
        assert report['mIoU'] == 1 and report['per_class'] == {'background': 1, 'crack': 1}
        stem = STEMS[0]  # the figures are those of the masks: one wrong image shows
        if folder.name.endswith('labels'):
            write_label(label_path(folder, stem), np.zeros((16, 21), np.uint8))
            assert 0 < evaluate(folder, said, 'train', num_workers=0)['per_class']['crack'] < 1


def test_masks_that_do_not_show_what_the_labels_say(data, monkeypatch):
    messages = []
    monkeypatch.setattr('mmwsss.datasets.mask_checks.print_log',
                        lambda message, *args, **kwargs: messages.append(message))
    masks = {stem: read_label(label_path(data / 'SegmentationClass', stem)) for stem in STEMS}
    shown = {stem: set(np.unique(mask)) - {0, 255} for stem, mask in masks.items()}
    labels = {stem: [CLASSES[i - 1] for i in ids] for stem, ids in shown.items()}
    (data / 'labels.json').write_text(json.dumps(labels))
    report = evaluate(data.parent / 'cams', data, 'train', num_workers=0)
    assert 'masks_unlike_labels' not in report and messages == []
    labels[STEMS[1]], labels[STEMS[3]] = [], ['dog'] if shown[STEMS[3]] != {2} else ['cat']
    (data / 'labels.json').write_text(json.dumps({**labels, 'no such image': ['cat']}))
    for folder in ('cams', 'labels'):
        assert evaluate(data.parent / folder, data, 'train', num_workers=0)['masks_unlike_labels'] == 2 / 5
    assert len(messages) == 2 and 'the masks of 2 of 5 images (40.0%)' in messages[0]
    (data / 'labels.json').write_text('{')  # is not what is evaluated
    logged = []
    monkeypatch.setattr(module, 'print_log', lambda message, *args, **kwargs: logged.append(message))
    assert evaluate(data.parent / 'cams', data, 'train', num_workers=0) == expected_cam_report(data)
    assert len(logged) == 1 and 'labels.json: not valid json' in logged[0]
