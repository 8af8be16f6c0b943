import pytest
import torch
from mmengine.model import BaseModule
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.models import CAMClassifier
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


@MODELS.register_module(force=True)
class TwoStageToyBackbone(BaseModule):
    """Two convolutions; its features have strides 2 and 4."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1)

    def forward(self, inputs):
        first = self.first(inputs).relu()
        return first, self.second(first).relu()


@pytest.fixture
def make_model():
    def make(**kwargs):
        torch.manual_seed(0)
        model = CAMClassifier(backbone=dict(type='TwoStageToyBackbone'),
                              cam_head=dict(type='CAMHead', in_channels=8, num_classes=3),
                              data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3),
                              **kwargs)
        torch.nn.init.normal_(model.cam_head.conv_cam.weight)
        return model.eval()
    return make


def samples(*labels, size=(16, 12)):
    result = []
    for label in labels:
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_path='photo.jpg'))
        if label is not None:
            sample.gt_img_label = LabelData(label=torch.tensor(label, dtype=torch.float32))
        result.append(sample)
    return result


def test_loss_reaches_backbone_and_head(make_model):
    model = make_model().train()
    losses = model(torch.randn(2, 3, 16, 12), samples([1, 0, 1], [0, 1, 0]), mode='loss')
    assert set(losses) == {'loss_cls'}
    losses['loss_cls'].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_prediction_keeps_the_labelled_classes_normalised(make_model):
    model = make_model()
    images = torch.randn(2, 3, 16, 12)
    predictions = model(images, samples([1, 0, 1], [0, 1, 0]), mode='predict')
    maps = model(images, mode='tensor')
    assert [p.pred_img_label.label.tolist() for p in predictions] == [[0, 2], [1]]
    for prediction, raw in zip(predictions, maps):
        assert prediction.class_filter == 'label'
        cam = prediction.pred_cam.data
        assert cam.dtype == torch.float16 and cam.shape[-2:] == (4, 3)
        for k, c in enumerate(prediction.pred_img_label.label):
            rectified = raw[c].clamp(min=0)
            expected = rectified / rectified.max().clamp(min=1e-5)
            torch.testing.assert_close(cam[k], expected.half())
        torch.testing.assert_close(prediction.pred_img_label.score, raw.mean(dim=(1, 2)).sigmoid())


def test_output_grid_belongs_to_the_original_image(make_model):
    model = make_model(test_cfg=dict(stride=1))
    prediction, = model(torch.randn(1, 3, 16, 12), samples([1, 1, 0], size=(33, 25)), mode='predict')
    assert prediction.pred_cam.data.shape == (2, 33, 25)


@pytest.mark.parametrize('hooks', [[], [dict(type='MultiScaleFlip', scales=(1.0, 2.0))]])
def test_class_filter_by_score_needs_no_labels(make_model, hooks):
    model = make_model(test_cfg=dict(class_filter='score', score_thr=0.5), inference_hooks=hooks)
    images = torch.randn(4, 3, 16, 12)
    plain = model(images, mode='tensor').mean(dim=(2, 3)).sigmoid() > 0.5
    assert 0 < plain.sum() < plain.numel()
    predictions = model(images, samples(None, None, None, None), mode='predict')
    assert [p.pred_img_label.label.tolist() for p in predictions] == [row.nonzero().flatten().tolist() for row in plain]
    assert {p.class_filter for p in predictions} == {'score'}
    assert len(model(images, mode='predict')) == 4


def test_image_without_any_class_has_no_maps(make_model):
    model = make_model(test_cfg=dict(class_filter='score', score_thr=1.0),
                       inference_hooks=[dict(type='MultiScaleFlip')])
    prediction, = model(torch.randn(1, 3, 16, 12), samples(None), mode='predict')
    assert prediction.pred_cam.data.shape == (0, 4, 3)


def test_class_filter_by_label_without_label_names_the_image(make_model):
    with pytest.raises(UserError, match=r'photo\.jpg.*class_filter=score'):
        make_model()(torch.randn(1, 3, 16, 12), samples(None), mode='predict')


def test_batch_gives_what_single_images_give(make_model):
    model = make_model(inference_hooks=[dict(type='MultiScaleFlip')])
    images = torch.randn(3, 3, 16, 12)
    labels = ([1, 0, 1], [0, 1, 0], [1, 1, 1])
    together = model(images, samples(*labels), mode='predict')
    for image, label, prediction in zip(images, labels, together):
        alone, = model(image[None], samples(label), mode='predict')
        assert (alone.pred_cam.data.float() - prediction.pred_cam.data.float()).abs().max() <= 2**-10


@pytest.mark.parametrize('kwargs', [dict(test_cfg=dict(class_filter='guess')), dict(test_cfg=dict(strides=4)),
                                    dict(test_cfg=dict(stride=0)), dict(train_cfg=dict(weight=1))])
def test_unknown_options_are_refused(make_model, kwargs):
    with pytest.raises(ValueError, match='CAMClassifier'):
        make_model(**kwargs)


def test_tensor_mode_and_encode_decode(make_model):
    model = make_model()
    images = torch.randn(2, 3, 16, 12)
    assert model(images).shape == (2, 3, 4, 3)
    assert model.encode_decode(images).shape == (2, 3, 16, 12)
    assert set(model.compute_cam(images).feats) == {'0', '1'}
