import numpy as np
import torch

from mmwsss.datasets.transforms import PackWSSSInputs


def make_results(**more):
    return {'img': np.arange(24, dtype=np.uint8).reshape(2, 4, 3), 'img_path': 'x/a.jpg', 'stem': 'a',
            'ori_shape': (2, 4), 'img_shape': (2, 4), 'height': 2, 'width': 4, 'seg_map_path': None,
            'reduce_zero_label': False, 'sample_idx': 3, **more}


def test_labels_and_maps_are_packed():
    label = np.float32([0, 1, 1])
    saliency = np.uint8([[0, 255, 51, 1], [2, 3, 4, 5]])
    mask = np.uint8([[0, 255, 1, 2], [1, 1, 1, 0]])
    packed = PackWSSSInputs()(make_results(gt_img_label=label, gt_saliency=saliency, gt_seg_map=mask, flip=True))
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 2, 4) and packed['inputs'].dtype == torch.uint8
    assert packed['inputs'][1, 0].tolist() == [1, 4, 7, 10]
    assert sample.gt_img_label.label.tolist() == [0, 1, 1] and sample.gt_img_label.label.dtype == torch.float32
    assert sample.gt_saliency.data.shape == (1, 2, 4) and sample.gt_saliency.data.dtype == torch.float32
    torch.testing.assert_close(sample.gt_saliency.data[0, 0], torch.tensor([0, 1, 0.2, 1 / 255]))
    assert sample.gt_sem_seg.data.tolist() == [mask.tolist()] and sample.gt_sem_seg.data.dtype == torch.int64
    assert {k: sample.metainfo[k] for k in ('stem', 'img_path', 'ori_shape', 'height', 'width', 'flip')} == {
        'stem': 'a', 'img_path': 'x/a.jpg', 'ori_shape': (2, 4), 'height': 2, 'width': 4, 'flip': True}
    assert sample.metainfo['seg_map_path'] is None and 'sample_idx' not in sample.metainfo
    label[:] = 5
    assert sample.gt_img_label.label.tolist() == [0, 1, 1]  # a copy


def test_what_a_sample_does_not_have_is_not_packed():
    sample = PackWSSSInputs()(make_results(gt_img_label=None))['data_samples']
    assert not {'gt_img_label', 'gt_saliency', 'gt_sem_seg'} & set(sample.keys())


def test_flipped_saliency_and_meta_keys():
    saliency = np.arange(8, dtype=np.uint8).reshape(2, 4)[:, ::-1]  # negative strides
    sample = PackWSSSInputs(meta_keys=('sample_idx',))(make_results(gt_saliency=saliency))['data_samples']
    torch.testing.assert_close(sample.gt_saliency.data[0] * 255, torch.tensor([[3., 2, 1, 0], [7, 6, 5, 4]]))
    assert set(sample.metainfo) == {'sample_idx'}


def test_flipped_image_of_one_pixel_width():
    image = np.arange(12, dtype=np.uint8).reshape(4, 1, 3)[:, ::-1]
    assert image.strides[1] < 0 and image.flags.c_contiguous
    packed = PackWSSSInputs()(dict(img=image))
    assert torch.equal(packed['inputs'], torch.arange(12, dtype=torch.uint8).reshape(4, 1, 3).permute(2, 0, 1))
