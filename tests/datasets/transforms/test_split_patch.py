import numpy as np
import pytest
import torch

from mmwsss.datasets.transforms import SplitPatch
from mmwsss.inference.crops import centre_of_mass, plan_split
from mmwsss.registry import DATASETS, TRANSFORMS
from mmwsss.structures.cam_file import CAMFile, write_cam
from mmwsss.utils.errors import UserError

SIZE = (60, 81)
SMALL = dict(overlap=(3, 5), min_size=8)


def make_cam(folder, stem, classes, size=SIZE, seed=0):
    rng = np.random.default_rng(seed)
    grid = [-(-n // 4) for n in size]
    cam = (rng.random((classes, *grid)) ** 6).astype(np.float16)
    write_cam(folder / f'{stem}.npz', CAMFile(np.arange(classes), cam, size))
    return torch.from_numpy(cam.astype(np.float32))


def make_results(stem='a', size=SIZE):
    # Every pixel says where it is.
    rows, columns = np.mgrid[:size[0], :size[1]].astype(np.uint8)
    return dict(img=np.stack([rows, columns, rows], -1), img_shape=size, stem=stem, gt_img_label=np.eye(3)[1],
                gt_seg_map=rows.copy(), gt_saliency=columns.copy(), seg_fields=['gt_seg_map', 'gt_saliency'])


@pytest.mark.parametrize(('classes', 'count'), [(0, 1), (1, 4), (2, 4), (3, 12)])
def test_every_patch_of_the_plan_is_drawn_and_no_other(tmp_path, classes, count):
    cam = make_cam(tmp_path, 'a', classes)
    boxes = list(plan_split(centre_of_mass(cam, SIZE), SIZE, True, **SMALL)) or [(0, 0, *SIZE)]
    assert len(boxes) == count
    transform = SplitPatch(tmp_path, **SMALL)
    np.random.seed(0)
    drawn = []
    for _ in range(15 * count):
        results = transform(make_results())
        image = results['img']
        top, left = image[0, 0, :2].tolist()
        drawn.append((top, left, top + image.shape[0], left + image.shape[1]))
        assert (image[-1, -1, :2] == [drawn[-1][2] - 1, drawn[-1][3] - 1]).all()
        assert results['img_shape'] == image.shape[:2] and image.flags.c_contiguous
        np.testing.assert_array_equal(results['gt_seg_map'], image[..., 0])
        np.testing.assert_array_equal(results['gt_saliency'], image[..., 1])
        np.testing.assert_array_equal(results['gt_img_label'], [0, 1, 0])
    assert set(drawn) == set(boxes)
    assert min(drawn.count(box) for box in boxes) >= 4


def test_switches(tmp_path):
    cam = make_cam(tmp_path, 'a', 3)
    make_cam(tmp_path, 'b', 1)
    assert SplitPatch(tmp_path, multi_class='none').patches(make_results()) == [(0, 0, *SIZE)]
    centres = centre_of_mass(cam, SIZE)
    for options in (dict(overlap=(0, 0), min_size=1), dict(overlap=(9, 1), min_size=1), dict(overlap=(0, 0))):
        boxes = SplitPatch(tmp_path, **options).patches(make_results())
        assert boxes == list(plan_split(centres, SIZE, True, options['overlap'], options.get('min_size', 32)))
    np.random.seed(0)
    sizes = [SplitPatch(tmp_path, prob=prob)(make_results('b'))['img_shape'] for prob in [0.0] * 20 + [0.5] * 60]
    assert sizes[:20] == [SIZE] * 20 and 20 <= sizes.count(SIZE) - 20 <= 40


@pytest.mark.parametrize('change', [dict(img=np.zeros((59, 81, 3), np.uint8)), dict(flip=True), dict(stem='missing')])
def test_other_images_are_refused(tmp_path, change):
    make_cam(tmp_path, 'a', 1)
    with pytest.raises(UserError, match=r'(a|missing)\.npz'):
        SplitPatch(tmp_path)({**make_results(), **change})


def test_one_pixel(tmp_path):
    make_cam(tmp_path, 'a', 1, size=(1, 1))
    assert SplitPatch(tmp_path)(make_results(size=(1, 1)))['img_shape'] == (1, 1)


@pytest.mark.parametrize('kwargs', [dict(prob=1.1), dict(overlap=(1,)), dict(overlap=(0, -1)), dict(min_size=0),
                                    dict(multi_class='all')])
def test_bad_options(kwargs):
    with pytest.raises(ValueError, match='SplitPatch'):
        SplitPatch('cams', **kwargs)
    assert "cam_dir='cams', prob=0.5" in repr(SplitPatch('cams', prob=0.5))


def test_in_a_data_set(generated_root, tmp_path):
    pipeline = [dict(type='LoadImage'), dict(type='SplitPatch', cam_dir=str(tmp_path), overlap=(3, 5), min_size=8),
                dict(type='RandomResizeLong', long_side=(40, 64)), dict(type='PackWSSSInputs')]
    dataset = DATASETS.build(dict(type='VOCImageLabelDataset', data_root=str(generated_root), split='train',
                                  pipeline=pipeline, seed=0))
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        make_cam(tmp_path, info['stem'], int(info['gt_img_label'].sum()), (info['height'], info['width']))
        sample, again = dataset[index], dataset[index]
        assert torch.equal(sample['inputs'], again['inputs'])
        assert torch.equal(sample['data_samples'].gt_img_label.label, torch.from_numpy(info['gt_img_label']))
    assert TRANSFORMS.get('SplitPatch') is SplitPatch
