import os
import pickle
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmwsss.datasets.transforms import LoadCAM, LoadImage, PackWSSSInputs
from mmwsss.registry import TRANSFORMS
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, write_cam
from mmwsss.utils.errors import UserError

SIZE = (12, 16)
NAMES = ('cat', 'dog', 'sheep')


@pytest.fixture
def cam_dir(tmp_path):
    open_cam_dir(tmp_path / 'cams', CAMManifest('0' * 64, '1' * 64, NAMES, dict(class_filter='label', stride=4)))
    return tmp_path / 'cams'


@pytest.fixture
def make(tmp_path, cam_dir, write_image):
    """Writes an image and its CAM file, and returns the sample with the image loaded, and the CAM file."""
    def make(classes=(0, 2), grid=(3, 4), size=SIZE, label=(1, 0, 1), **more):
        path = write_image(tmp_path / 'images/a.b.png', *SIZE)
        cam = np.random.default_rng(1).random((len(classes), *grid)).astype(np.float16)
        cam_file = CAMFile(np.array(classes, np.int64), cam, size)
        write_cam(cam_path(cam_dir, 'a.b'), cam_file)
        label = None if label is None else np.float32(label)
        return LoadImage()(dict(img_path=str(path), stem='a.b', gt_img_label=label, **more)), cam_file
    return make


def test_cam_is_loaded_as_stored(make, cam_dir):
    results, cam_file = make()
    results = TRANSFORMS.build(dict(type='LoadCAM', cam_dir=str(cam_dir)))(results)
    np.testing.assert_array_equal(results['gt_cam'], cam_file.cam)
    assert results['gt_cam'].dtype == np.float16 and results['gt_cam_classes'].dtype == np.int64
    assert results['gt_cam_classes'].tolist() == [0, 2] and results['class_filter'] == 'label'


@pytest.mark.parametrize('stored, stride, grid', [((3, 4), 2, (6, 8)), ((3, 4), 5, (3, 4)), ((12, 16), 5, (3, 4)),
                                                  ((3, 4), 1, (12, 16))])
def test_stride(make, cam_dir, stored, stride, grid):
    results, cam_file = make(grid=stored)
    cam = LoadCAM(cam_dir, stride=stride)(results)['gt_cam']
    expected = F.interpolate(torch.from_numpy(cam_file.cam).double()[None], size=grid, mode='bilinear')[0]
    assert cam.shape == (2, *grid) and cam.min() >= 0 and cam.max() <= 1
    np.testing.assert_allclose(cam, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize('stride, grid', [(None, (3, 4)), (2, (6, 8))])
def test_image_without_class(make, cam_dir, stride, grid):
    results, _ = make(classes=(), label=(0, 0, 0))
    sample = PackWSSSInputs()(LoadCAM(cam_dir, stride=stride)(results))['data_samples']
    assert sample.gt_cam.data.shape == (0, *grid) and sample.gt_cam.data.dtype == torch.float32
    assert sample.gt_cam_classes.label.shape == (0,) and sample.gt_cam_classes.label.dtype == torch.int64


def test_packed(make, cam_dir):
    results, cam_file = make()
    sample = PackWSSSInputs()(LoadCAM(cam_dir)(results))['data_samples']
    assert sample.gt_cam.data.dtype == torch.float32
    np.testing.assert_array_equal(sample.gt_cam.data.numpy(), cam_file.cam.astype(np.float32))
    assert sample.gt_cam_classes.label.tolist() == [0, 2] and sample.class_filter == 'label'
    results['gt_cam'][:] = 0
    assert sample.gt_cam.data.any()  # a copy
    del results['gt_cam']
    assert 'gt_cam' not in PackWSSSInputs()(results)['data_samples']


def test_manifest_is_read_once_and_late(make, tmp_path, cam_dir):
    transform = pickle.loads(pickle.dumps(LoadCAM(cam_dir)))  # as for a worker that is spawned
    results, _ = make()
    transform(dict(results))
    (cam_dir / 'manifest.json').unlink()
    assert transform(dict(results))['class_filter'] == 'label'
    with pytest.raises(UserError, match=r'manifest\.json: no such file.*mmwsss cam'):
        LoadCAM(cam_dir)(dict(results))
    assert LoadCAM(tmp_path / 'not made yet').cam_dir == tmp_path / 'not made yet'


def test_classes_by_scores_need_not_be_those_of_the_label(make, tmp_path, cam_dir):
    results, _ = make(label=(0, 1, 0))
    with pytest.raises(UserError, match=r'a\.b\.npz: .*\[0, 2\], but the label of the image has \[1\].*mmwsss cam'):
        LoadCAM(cam_dir)(dict(results))
    (cam_dir / 'manifest.json').unlink()
    cam_path(cam_dir, 'a.b').rename(tmp_path / 'kept.npz')
    open_cam_dir(cam_dir, CAMManifest(None, None, NAMES, dict(class_filter='score')))
    (tmp_path / 'kept.npz').rename(cam_path(cam_dir, 'a.b'))
    assert LoadCAM(cam_dir)(dict(results))['class_filter'] == 'score'
    unlabelled = {**results, 'gt_img_label': None}
    assert LoadCAM(cam_dir)(unlabelled)['gt_cam_classes'].tolist() == [0, 2]


def test_missing_and_damaged_files(make, cam_dir):
    results, _ = make()
    path = cam_path(cam_dir, 'a.b')
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r'a\.b\.npz: not a valid CAM file.*mmwsss cam'):
        LoadCAM(cam_dir)(dict(results))
    path.unlink()
    with pytest.raises(UserError, match=r'a\.b\.npz: no such CAM file; run mmwsss cam'):
        LoadCAM(cam_dir)(dict(results))


def test_stale_files(make, cam_dir):
    results, _ = make(size=(16, 12), grid=(4, 3))
    with pytest.raises(UserError, match=r'a\.b\.npz: .*\(16, 12\).*, but .*a\.b\.png is \(12, 16\).*mmwsss cam'):
        LoadCAM(cam_dir)(results)
    results, _ = make()
    later = time.time_ns() + 10**9
    os.utime(results['img_path'], ns=(later, later))
    with pytest.raises(UserError, match=r'a\.b\.npz: is older than its image .*a\.b\.png'):
        LoadCAM(cam_dir)(results)


def test_other_classes(make, cam_dir):
    results, _ = make(classes=(0, 3), label=None)
    with pytest.raises(UserError, match=r'a\.b\.npz: has class id 3, but there are 3 classes'):
        LoadCAM(cam_dir)(results)
    results, _ = make(label=(1, 0))
    with pytest.raises(UserError, match=r'manifest\.json: the CAMs are of 3 classes, but the data set has 2'):
        LoadCAM(cam_dir)(results)


@pytest.mark.parametrize('change, message', [
    (dict(type='RandomFlip', prob=1.0), r'a\.b\.png: was flipped, .*after LoadImage'),
    (dict(type='Resize', scale=(8, 6)), r'a\.b\.png: is now \(6, 8\), and was \(12, 16\)'),
    (dict(type='RandomCrop', crop_size=(12, 8)), r'is now \(12, 8\)'),
])
def test_it_comes_before_changes_of_geometry(make, cam_dir, change, message):
    changed = TRANSFORMS.build(change)(make()[0])
    with pytest.raises(UserError, match=message):
        LoadCAM(cam_dir)(changed)


def test_flip_that_did_not_happen_and_other_order(make, cam_dir):
    results = TRANSFORMS.build(dict(type='RandomFlip', prob=0.0))(make()[0])
    assert 'gt_cam' in LoadCAM(cam_dir)(results)
    with pytest.raises(UserError, match='put it after LoadImage'):
        LoadCAM(cam_dir)(dict(stem='a.b', img_path='a.b.png'))


@pytest.mark.parametrize('stride', [0, -1, 2.0, True, '4'])
def test_wrong_stride(cam_dir, stride):
    with pytest.raises(ValueError, match='LoadCAM: stride'):
        LoadCAM(cam_dir, stride=stride)
