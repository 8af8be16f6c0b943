import pytest
import torch
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.registry import MODELS


def make_batch(sizes=((3, 5), (4, 2)), maps=True):
    generator = torch.Generator().manual_seed(0)
    samples = []
    for height, width in sizes:
        sample = SegDataSample(gt_img_label=LabelData(label=torch.tensor([1.0, 0.0])))
        if maps:
            sample.gt_saliency = PixelData(data=torch.rand(1, height, width, generator=generator))
            sample.gt_sem_seg = PixelData(data=torch.randint(0, 3, (1, height, width), generator=generator))
        samples.append(sample)
    return {'inputs': [torch.randint(0, 256, (3, *size), generator=generator).byte() for size in sizes],
            'data_samples': samples}


@pytest.mark.parametrize('options, size', [
    ({}, (4, 5)), ({'size_divisor': 4}, (4, 8)), ({'size': (6, 7)}, (6, 7)), ({'size_divisor': 1}, (4, 5))])
@pytest.mark.parametrize('pad_val', [0.0, 0.25])
def test_maps_are_padded_with_the_images(options, size, pad_val):
    batch = make_batch()
    before = [(s.gt_saliency.data.clone(), s.gt_sem_seg.data.clone()) for s in batch['data_samples']]
    result = WSSSDataPreProcessor(saliency_pad_val=pad_val, seg_pad_val=255, **options)(batch, training=True)
    assert result['inputs'].shape == (2, 3, *size)
    for sample, (saliency, mask) in zip(result['data_samples'], before):
        height, width = saliency.shape[1:]
        for data, old, fill in ((sample.gt_saliency.data, saliency, pad_val), (sample.gt_sem_seg.data, mask, 255)):
            assert data.shape == (1, *size)
            assert torch.equal(data[:, :height, :width], old)
            outside = torch.ones(size, dtype=torch.bool)
            outside[:height, :width] = False
            assert (data[0][outside] == fill).all()
        assert sample.img_shape == (height, width) and sample.pad_shape == size
        assert sample.gt_img_label.label.tolist() == [1, 0]


def test_samples_with_labels_only():
    result = WSSSDataPreProcessor()(make_batch(maps=False), training=True)
    assert result['inputs'].shape == (2, 3, 4, 5)
    assert all(sample.pad_shape == (4, 5) for sample in result['data_samples'])


def test_normalisation_and_channels():
    preprocessor = WSSSDataPreProcessor(mean=[1., 2., 3.], std=[2., 4., 8.], bgr_to_rgb=True)
    batch = make_batch(sizes=[(2, 2)])
    rgb = batch['inputs'][0].float().flip(0)
    expected = (rgb - torch.tensor([1., 2., 3.]).view(3, 1, 1)) / torch.tensor([2., 4., 8.]).view(3, 1, 1)
    torch.testing.assert_close(preprocessor(batch, training=True)['inputs'][0], expected)


def test_nothing_is_padded_in_tests():
    batch = make_batch(sizes=((3, 5), (3, 5)))
    result = WSSSDataPreProcessor(size=(9, 9))(batch, training=False)
    assert result['inputs'].shape == (2, 3, 3, 5)
    assert result['data_samples'][0].gt_saliency.data.shape == (1, 3, 5)


def test_built_by_name():
    assert isinstance(MODELS.build(dict(type='WSSSDataPreProcessor', saliency_pad_val=1.0)), WSSSDataPreProcessor)
