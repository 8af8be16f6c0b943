import pytest
import torch
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.inference.ten_crop import ten_crops
from mmwsss.models import LocalizationClassifier
from mmwsss.registry import MODELS
from mmwsss.structures.maps import resize_maps


def build(inference_hooks=(), **test_cfg):
    torch.manual_seed(0)
    model = LocalizationClassifier(
        backbone=dict(type='VGG16', out_indices=(2, 3, 4)),
        neck=dict(type='ConvStack', in_channels=512, layers=((8, 3, 1),)),
        cam_head=dict(type='SingleLabelCAMHead', in_channels=8, num_classes=6),
        data_preprocessor=dict(type='WSSSDataPreProcessor'), inference_hooks=inference_hooks,
        test_cfg=dict(dict(stride=1, normalize='min_max'), **test_cfg))
    model.init_weights()
    return model.eval()


def samples_of(size=(20, 30), labels=(4,)):
    return [SegDataSample(metainfo=dict(ori_shape=size, img_path=f'{i}'), gt_img_label=LabelData(
        label=torch.eye(6)[i])) for i in labels]


@pytest.fixture(scope='module')
def image():
    return torch.rand(1, 3, 40, 40)


@torch.no_grad()
def test_map_and_scores(image):
    model = build(crop_size=32, rectify='min')
    sample, = model.predict(image, samples_of())
    maps, feats = model.forward_maps(resize_maps(image, (32, 32)))
    assert [feat.shape[1] for feat in feats] == [256, 512, 512, 8]
    torch.testing.assert_close(sample.pred_img_label.score, maps.mean(dim=(2, 3)).softmax(dim=1)[0])
    assert sample.pred_img_label.label.tolist() == [4] and sample.class_filter == 'label'
    cam = resize_maps(maps[:, 4:5], (20, 30))[0, 0]
    cam = (cam - cam.min()) / (cam.max() - cam.min())
    torch.testing.assert_close(sample.pred_cam.data[0].float(), cam, atol=1e-2, rtol=0)  # eps


@torch.no_grad()
def test_rectifier(image):
    maps, _ = build().forward_maps(image)
    torch.testing.assert_close(build().compute_cam(image).cam, maps.relu())
    cam = build(rectify='min').compute_cam(image).cam
    assert (cam.amin(dim=(2, 3)) == 0).all()
    torch.testing.assert_close(cam - cam.mean(dim=(2, 3), keepdim=True), maps - maps.mean(dim=(2, 3), keepdim=True))


@torch.no_grad()
def test_ten_crops(image):
    model = build(crop_size=32, ten_crop=True)
    score = model.predict(image, samples_of())[0].pred_img_label.score
    crops = [model.compute_cam(crop).logits.softmax(dim=1)[0] for crop in ten_crops(image, 32)]
    torch.testing.assert_close(score, torch.stack(crops).mean(dim=0))
    # The map does not depend on them.
    other = build(crop_size=32).predict(image, samples_of())[0]
    assert torch.equal(other.pred_cam.data, model.predict(image, samples_of())[0].pred_cam.data)
    assert not torch.allclose(other.pred_img_label.score, score, rtol=1e-4)


@pytest.mark.parametrize('ten_crop', [False, True])
@torch.no_grad()
def test_top_k_filter_needs_no_labels(image, ten_crop):
    model = build(class_filter='top_k', top_k=2, crop_size=32, ten_crop=ten_crop)
    sample, = model.predict(image, [SegDataSample(metainfo=dict(ori_shape=(20, 30)))])
    assert sample.class_filter == 'top_k' and sample.pred_cam.data.shape == (2, 20, 30)
    assert set(sample.pred_img_label.label.tolist()) == set(sample.pred_img_label.score.topk(2).indices.tolist())
    every, = build(class_filter='top_k', top_k=99).predict(image, [SegDataSample(metainfo=dict(ori_shape=(20, 30)))])
    assert every.pred_img_label.label.tolist() == list(range(6))


@torch.no_grad()
def test_score_filter(image):
    scores = build().predict(image, samples_of())[0].pred_img_label.score
    middle = scores.sort().values[2:4].mean().item()
    model = build(class_filter='score', score_thr=middle)
    sample, = model.predict(image, [SegDataSample(metainfo=dict(ori_shape=(9, 9)))])
    assert sample.pred_img_label.label.tolist() == (scores > middle).nonzero().flatten().tolist()


@pytest.mark.parametrize('stages', [('0',), ('1', '2'), ('0', '1', '2')])
@torch.no_grad()
def test_ssa_on_the_stages_of_the_paper(image, stages):
    for blocks in (1, 2, 3):
        model = build([dict(type='SSA', stages=stages, num_blocks=blocks)], crop_size=32, rectify='min', stride=4)
        cam = model.predict(image, samples_of())[0].pred_cam.data
        assert cam.shape == (1, 5, 8) and cam.float().max() > .5 and cam.isfinite().all()


def test_training_step():
    model = MODELS.build(dict(
        type='LocalizationClassifier', backbone=dict(type='VGG16', frozen_stages=4, out_indices=(4,)),
        neck=dict(type='ConvStack', in_channels=512, layers=((8, 3, 1),)),
        cam_head=dict(type='SingleLabelCAMHead', in_channels=8, num_classes=6,
                      restricted_activation=dict(type='RestrictedActivationLoss')))).train()
    losses = model.loss(torch.rand(2, 3, 32, 32), samples_of(labels=(1, 3)))
    assert set(losses) == {'loss_cls', 'loss_restricted'}
    model.loss_weights['restricted'] = 0.
    assert model.loss(torch.rand(2, 3, 32, 32), samples_of(labels=(1, 3)))['loss_restricted'] == 0
    sum(losses.values()).backward()
    assert model.neck.layers[0].weight.grad.any() and model.backbone.features[0].weight.grad is None


def test_options():
    for options in (dict(rectify='abs'), dict(top_k=-1), dict(class_filter='top_k', top_k=0), dict(ten_crop=True),
                    dict(unknown=1), dict(class_filter='best')):
        with pytest.raises(ValueError, match='test_cfg'):
            build(**options)
        with pytest.raises(ValueError, match='test_cfg'):
            build().predict(torch.rand(1, 3, 40, 40), samples_of(), **options)
    with pytest.raises(ValueError, match='rectify is of the config, not of a call'):
        build().predict(torch.rand(1, 3, 40, 40), samples_of(), rectify='min')


@torch.no_grad()
def test_options_of_a_call(image):
    called = build().predict(image, samples_of(), ten_crop=True, crop_size=32)[0]
    built = build(ten_crop=True, crop_size=32).predict(image, samples_of())[0]
    torch.testing.assert_close(called.pred_img_label.score, built.pred_img_label.score)
    assert torch.equal(called.pred_cam.data, built.pred_cam.data)
    none, = build().predict(image, class_filter='score', score_thr=1.0, top_k=0)
    assert none.pred_cam.data.shape[0] == 0


@pytest.mark.parametrize('rectify', ['relu', 'min'])
def test_attention_goes_with_the_map(image, rectify):
    class Feats(tuple):
        attentions = (torch.ones(1),)

    model = build(rectify=rectify)
    forward_maps = model.forward_maps
    model.forward_maps = lambda inputs: (forward_maps(inputs)[0], Feats(forward_maps(inputs)[1]))
    assert model.compute_cam(image).attentions is Feats.attentions
