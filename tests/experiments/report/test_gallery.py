import base64
import shutil

import numpy as np
import pytest

from mmwsss.datasets import DataFolder
from mmwsss.experiments.report import gallery as module
from mmwsss.experiments.report.gallery import encode_map, make_gallery, spread
from mmwsss.experiments.report.sources import ReportFolder
from mmwsss.structures.cam_file import read_cam
from mmwsss.utils.errors import UserError


def decode_map(text):
    """The slow reference of what the page's script does."""
    code, out, i = base64.b64decode(text), [], 0
    while i < len(code):
        value, length, shift = code[i], 0, 0
        while True:
            i += 1
            length |= (code[i] & 127) << shift
            shift += 7
            if code[i] < 128:
                break
        out += [value] * length
        i += 1
    return out


def test_runs_are_the_label_map():
    rng = np.random.default_rng(0)
    for label in (rng.integers(0, 3, (5, 7)), np.full((300, 200), 255), np.repeat(rng.integers(0, 9, 50), 777)[None]):
        label = label.astype(np.uint8)
        assert decode_map(encode_map(label, label.shape)) == label.ravel().tolist()
    assert decode_map(encode_map(np.array([[1, 2], [3, 4]], np.uint8), (4, 4)))[:4] == [1, 1, 2, 2]


def test_a_sample_is_spread():
    assert spread(list('abcdef'), 3) == list('ace') and spread(list('ab'), 5) == list('ab') and spread([], 2) == []


def test_items(make_run, generated_root):
    data, folder = DataFolder.find(generated_root), ReportFolder.read('run', make_run(generated_root))
    gallery = make_gallery([folder], data, 1000)
    assert gallery.num_images == len(gallery.items) == 16
    train = [item for item in gallery.items if item['folders'][0]['cam']]
    assert len(train) == 12
    item = train[0]
    cam, file = item['folders'][0]['cam'], read_cam(folder.cam.output / f'{item["stem"]}.npz')
    assert cam['classes'] == [0, 2] and (cam['h'], cam['w']) == file.cam.shape[1:]
    maps = np.frombuffer(base64.b64decode(cam['data']), np.uint8).reshape(file.cam.shape)
    assert np.abs(maps / 255 - file.cam).max() <= .5 / 255 + 1e-3
    for item in gallery.items:
        for found in item['folders'][0]['maps']:
            assert found is None or 0 <= found['iou'] <= 1
        assert len(decode_map(item['gt'])) == item['w'] * item['h']
    counts = [images for _, images, _ in gallery.by_count]
    assert sum(counts) == 16 and all(0 <= value <= 100 for *_, found in gallery.by_count for value in found.values())


def test_without_masks_nothing_is_compared(make_run, generated_copy):
    shutil.rmtree(generated_copy / 'SegmentationClass')
    folder = ReportFolder.read('run', make_run(generated_copy))
    gallery = make_gallery([folder], DataFolder.find(generated_copy), 1000)
    assert gallery.by_count == [] and all(item['gt'] is None for item in gallery.items)
    assert {0, 2} <= {k for item in gallery.items for k in item['classes']}


def test_size_is_bounded(make_run, generated_root, monkeypatch):
    data, folder = DataFolder.find(generated_root), ReportFolder.read('run', make_run(generated_root))
    assert len(make_gallery([folder], data, 6).items) == 6
    assert len(make_gallery([folder], data, 1).items) == 1  # of two splits
    monkeypatch.setattr(module, 'MAX_BYTES', 20_000)
    gallery = make_gallery([folder], data, 1000)
    assert 0 < len(gallery.items) < 16 and sum(map(module._size, gallery.items)) <= 20_000


def test_label_of_another_image(make_run, generated_root):
    data, path = DataFolder.find(generated_root), make_run(generated_root)
    from mmwsss.structures.label_file import write_label
    for label in (path / 'label/labels').glob('*.png'):
        write_label(label, np.zeros((3, 3), np.uint8))
    with pytest.raises(UserError, match=r'has size \(3, 3\)'):
        make_gallery([ReportFolder.read('run', path)], data, 5)
