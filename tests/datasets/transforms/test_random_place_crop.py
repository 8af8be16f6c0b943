from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose

import mmwsss.datasets  # noqa: F401  (registers the transforms)
from mmwsss.datasets.transforms import RandomPlaceCrop
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor

CROP = (9, 12)


def picture(height, width):
    """Three maps of one picture, no value of which is what is filled up with."""
    values = (np.arange(height * width).reshape(height, width) % 250 + 1).astype(np.uint8)
    return {'img': np.stack([values] * 3, -1), 'gt_seg_map': values.copy(), 'gt_saliency': values.copy(),
            'seg_fields': ['gt_seg_map', 'gt_saliency'], 'img_path': 'a.jpg', 'ori_shape': (height, width)}


def on_canvas(height, width, size=CROP):
    batch = Compose([dict(type='RandomPlaceCrop', crop_size=CROP), dict(type='PackWSSSInputs')])(picture(height, width))
    preprocessor = WSSSDataPreProcessor(size=size, mean=[10.0] * 3, std=[2.0] * 3, seg_pad_val=255)
    data = preprocessor({'inputs': [batch['inputs']], 'data_samples': [batch['data_samples']]}, training=True)
    return data['inputs'][0], data['data_samples'][0]


@pytest.mark.parametrize('size', [(5, 7), (9, 12), (20, 30), (4, 30), (20, 3), (1, 1)])
def test_equals_a_container_as_the_released_codes_have_it(size):
    """PSA's RandomCrop, with loops; image and maps agree, and of what is outside the saliency is not known (-1)."""
    np.random.seed(0)
    for _ in range(5):
        np.random.seed(seed := np.random.randint(1000))
        image, sample = on_canvas(*size)
        np.random.seed(seed)
        cut = [np.random.randint(max(side - crop, 0) + 1) for side, crop in zip(size, CROP)]
        place = [np.random.randint(max(crop - side, 0) + 1) for side, crop in zip(size, CROP)]
        values = picture(*size)['gt_seg_map']
        expected = {'image': np.zeros(CROP), 'mask': np.full(CROP, 255), 'saliency': np.full(CROP, -1.0)}
        for y in range(min(CROP[0], size[0])):
            for x in range(min(CROP[1], size[1])):
                value, at = float(values[cut[0] + y, cut[1] + x]), (place[0] + y, place[1] + x)
                expected['image'][at], expected['mask'][at] = (value - 10) / 2, value
                expected['saliency'][at] = value / 255
        np.testing.assert_allclose(image.numpy(), np.stack([expected['image']] * 3))
        np.testing.assert_array_equal(sample.gt_sem_seg.data[0], expected['mask'])
        np.testing.assert_allclose(sample.gt_saliency.data[0], expected['saliency'], atol=1e-6)
        left, right, top, bottom = sample.padding_size
        assert (sample.gt_sem_seg.data[0, top:CROP[0] - bottom, left:CROP[1] - right] != 255).all()
        assert (top, left) == tuple(place) and top + bottom == max(CROP[0] - size[0], 0)


def test_every_place_is_as_likely():
    np.random.seed(0)
    seen = Counter(RandomPlaceCrop(CROP)(picture(8, 10))['canvas_offset'] for _ in range(1200))
    assert set(seen) == {(y, x) for y in (0, 1) for x in (0, 1, 2)}
    assert min(seen.values()) > 140  # of 200


def test_a_larger_canvas_keeps_the_place():
    np.random.seed(1)
    image, sample = on_canvas(5, 6, size=(20, 20))
    inside = image[0].nonzero()
    assert tuple(inside.amin(dim=0).tolist()) == sample.canvas_offset != (0, 0)


def test_the_canvas_must_have_room():
    np.random.seed(0)
    with pytest.raises(Exception, match='smaller than the crop of RandomPlaceCrop'):
        for _ in range(20):
            on_canvas(5, 6, size=(6, 6))


def test_images_without_a_place_are_at_the_top_left():
    image, _ = on_canvas(5, 6)
    batch = Compose([dict(type='RandomCrop', crop_size=CROP), dict(type='PackWSSSInputs')])(picture(5, 6))
    data = WSSSDataPreProcessor(size=CROP)({'inputs': [batch['inputs']], 'data_samples': [batch['data_samples']]}, True)
    assert torch.equal(data['inputs'][0, :, :5, :6].byte(), batch['inputs']) and image.shape == (3, *CROP)
