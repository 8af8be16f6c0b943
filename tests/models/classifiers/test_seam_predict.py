"""What SEAM predicts."""
import pytest
import seam_reference as slow
import torch
import torch.nn.functional as F
from seam_reference import random
from seam_toy import WITHOUT_PCM, samples, toy_seam

from mmwsss.inference import CAMProvider, MultiScaleFlip
from mmwsss.registry import CAM_PROVIDERS, MODELS
from mmwsss.structures import CAMOutput
from mmwsss.structures.maps import max_normalize, rescale_images, resize_maps

LABELS = [[1, 0, 1], [0, 1, 0]]
HOOKS = [dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5), flip=True, stride=2)]


@CAM_PROVIDERS.register_module(force=True)
class UnrevisedProvider(CAMProvider):
    """The class maps as the model's own interface gives them."""

    def __call__(self, model, inputs, labels):
        maps, _ = model.forward_maps(inputs)
        return CAMOutput(cam=maps.relu(), logits=model.pool(maps))


def images(num_images=2, size=(12, 10)):
    return random(num_images, 3, *size, seed=7).float()


def predicted(model, inputs, labels=LABELS):
    """Maps of each image at the size of the network's, in a list."""
    with torch.no_grad():
        predictions = model.eval()(inputs, samples(labels, tuple(inputs.shape[-2:])), mode='predict')
    return [prediction.pred_cam.data for prediction in predictions]


def equal(one, two):
    assert len(one) == len(two) and all(a.shape == b.shape for a, b in zip(one, two))
    return all(torch.equal(a, b) for a, b in zip(one, two))


def test_cam_function_equals_loops():
    model, inputs = toy_seam(), images()
    output = model.compute_cam(inputs)
    maps, feats = model.forward_maps(inputs)
    theta = slow.theta(model.pcm, feats, inputs.double(), maps.shape[2:])
    expected = slow.spread(slow.pcm_seed(maps.double()), theta)
    torch.testing.assert_close(output.cam.double(), expected[:, 1:], rtol=1e-4, atol=1e-5)
    assert output.cam.shape == (2, 3, 6, 5) and output.cam.min() >= 0
    torch.testing.assert_close(output.logits, maps.mean(dim=(2, 3)))  # of the maps before PCM
    assert set(output.feats) == {'0', '1'} and output.feats['0'].shape[1] == 4


def test_prediction_is_the_revised_map_of_the_labelled_classes():
    model, inputs = toy_seam(test_cfg=dict(stride=2)), images()
    for n, cam in enumerate(predicted(model, inputs)):
        classes = torch.tensor(LABELS[n]).nonzero().flatten()
        expected = model.compute_cam(inputs).cam[n, classes]
        torch.testing.assert_close(cam, (expected / expected.amax(dim=(1, 2), keepdim=True)).half())


def test_minimum_and_maximum_of_the_page():
    """Of the map at the size of the output; the released code's least difference is 1e-5."""
    model, inputs = toy_seam(test_cfg=dict(stride=1, normalize='min_max')), images()
    for n, cam in enumerate(predicted(model, inputs)):
        for k, c in enumerate(torch.tensor(LABELS[n]).nonzero().flatten()):
            whole = resize_maps(model.compute_cam(inputs).cam[n:n + 1], (12, 10))[0, c].double()
            expected = (whole - whole.min() - 1e-5).clamp(min=0) / (whole.max() - whole.min() + 1e-5)
            torch.testing.assert_close(cam[k], expected.half(), rtol=1e-3, atol=1e-4)
            assert cam[k].min() == 0


def test_unrevised_prediction_is_that_of_the_model_inside():
    inputs, options = images(), dict(inference_hooks=HOOKS, test_cfg=dict(stride=2))
    full = toy_seam(**options)
    unrevised = toy_seam(predict_revised=False, **options)
    without_pcm = toy_seam(**WITHOUT_PCM, **options)
    inside = MODELS.build(dict(type='CAMClassifier', backbone=dict(type='SiameseToyBackbone'),
                               cam_head=dict(type='CAMHead', in_channels=6, num_classes=3), **options))
    inside.load_state_dict(full.classifier.state_dict())
    assert equal(predicted(unrevised, inputs), predicted(inside, inputs))
    assert equal(predicted(without_pcm, inputs), predicted(inside, inputs))
    assert not equal(predicted(full, inputs), predicted(inside, inputs))
    assert unrevised.loss(inputs, samples(LABELS)).keys() == full.loss(inputs, samples(LABELS)).keys()


def test_hooks_wrap_the_revised_maps():
    model, inputs = toy_seam(inference_hooks=HOOKS, test_cfg=dict(stride=2)), images()
    total = torch.zeros(2, 3, 6, 5)
    for scale in (0.5, 1.0, 1.5):
        view = rescale_images(inputs, scale)
        total += resize_maps(model.compute_cam(view).cam, (6, 5))
        total += resize_maps(model.compute_cam(view.flip(-1)).cam.flip(-1), (6, 5))
    for n, cam in enumerate(predicted(model, inputs)):
        expected = max_normalize(total[n, torch.tensor(LABELS[n]).bool()])
        torch.testing.assert_close(cam.float(), expected, rtol=0, atol=2e-3)


def test_provider_gets_the_maps_before_pcm():
    inputs = images()
    provided = toy_seam(cam_provider=dict(type='UnrevisedProvider'), inference_hooks=HOOKS)
    assert equal(predicted(provided, inputs), predicted(toy_seam(predict_revised=False, inference_hooks=HOOKS), inputs))


@pytest.mark.parametrize('hooks', [[], HOOKS])
def test_class_filter_by_score_is_that_of_the_classifier(hooks):
    model = toy_seam(inference_hooks=hooks, test_cfg=dict(class_filter='score', score_thr=0.5)).eval()
    inputs = images(6)
    scores = model.classifier.pool(model.forward_maps(inputs)[0]).sigmoid()
    assert 0 < (scores > 0.5).sum() < scores.numel()
    for prediction, score in zip(model(inputs, mode='predict'), scores):
        assert prediction.pred_img_label.label.tolist() == (score > 0.5).nonzero().flatten().tolist()
        assert len(prediction.pred_cam.data) == (score > 0.5).sum() and prediction.class_filter == 'score'


def test_settings_of_the_model_inside_have_no_effect():
    def config(**kwargs):
        cfg = dict(type='CAMClassifier', backbone=dict(type='SiameseToyBackbone'),
                   cam_head=dict(type='CAMHead', in_channels=6, num_classes=3))
        return dict(type='SEAM', classifier=dict(cfg, **kwargs), loss_er=dict(type='ERLoss'))
    inputs = images()
    plain = MODELS.build(config())
    other = MODELS.build(config(inference_hooks=HOOKS, cam_provider=dict(type='UnrevisedProvider'),
                                test_cfg=dict(class_filter='score', stride=1)))
    other.load_state_dict(plain.state_dict())
    assert equal(predicted(other, inputs), predicted(plain, inputs))


def test_seam_inside_of_seam():
    """Any CAM model: of the one inside, the class maps before its PCM are trained and revised."""
    inputs = images()
    inner = dict(type='SEAM', classifier=dict(
        type='CAMClassifier', backbone=dict(type='SiameseToyBackbone'),
        cam_head=dict(type='CAMHead', in_channels=6, num_classes=3)),
        pcm=dict(type='PCM', in_channels=(6,), in_indices=(1,), reduced_channels=(4,), channels=5),
        loss_ecr=dict(type='ECRLoss'))
    for revised in (True, False):
        model = toy_seam(classifier=inner, predict_revised=revised)
        expected = predicted(model.classifier, inputs)
        assert equal(predicted(model, inputs), expected) != revised
        assert set(model.loss(inputs, samples(LABELS))) == {'loss_cls', 'loss_er', 'loss_ecr', 'loss_min_pool'}


def test_batch_gives_what_single_images_give():
    model, inputs = toy_seam(inference_hooks=HOOKS), images()
    for n, cam in enumerate(predicted(model, inputs)):
        alone, = predicted(model, inputs[n:n + 1], LABELS[n:n + 1])
        assert (alone.float() - cam.float()).abs().max() <= 2**-10


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (7, 2)])
@pytest.mark.parametrize('dtype', [None, torch.bfloat16, torch.float16])
def test_any_size_and_precision(size, dtype):
    model, inputs = toy_seam(inference_hooks=HOOKS), images(size=size)
    with torch.autocast('cpu', dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        found = predicted(model, inputs)
        last = predicted(model.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last))
    for one, two, full in zip(found, last, predicted(model, inputs)):
        assert one.isfinite().all() and one.min() >= 0 and one.max() <= 1
        torch.testing.assert_close(one, two, rtol=0, atol=0.02)
        torch.testing.assert_close(one, full, rtol=0, atol=0.1 if dtype else 0.0)


def test_blocks_give_the_dense_prediction():
    inputs = images(size=(30, 22))
    dense, blocks = toy_seam(), toy_seam(pcm_options=dict(max_entries=1000))
    for one, two in zip(predicted(dense, inputs), predicted(blocks, inputs)):
        torch.testing.assert_close(one, two, rtol=0, atol=2**-10)


def test_inference_of_the_released_code():
    """One view after the other: aligned to the view, plainly to the image; minimum and maximum at full size."""
    hook = dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5), stride=1, align_views=True)
    model = toy_seam(inference_hooks=[hook], test_cfg=dict(stride=2, normalize='min_max', full_size=True))
    inputs = images()
    for n, cam in enumerate(predicted(model, inputs)):
        total = torch.zeros(3, 12, 10, dtype=torch.float64)
        for scale in (0.5, 1.0, 1.5):
            for flip in (False, True):
                view = rescale_images(inputs[n:n + 1], scale)
                view = view.flip(-1) if flip else view
                maps = F.interpolate(model.compute_cam(view).cam, view.shape[2:], mode='bilinear', align_corners=True)
                maps = F.interpolate(maps, (12, 10), mode='bilinear', align_corners=False)[0].double()
                total += maps.flip(-1) if flip else maps
        low, high = total.amin(dim=(1, 2), keepdim=True), total.amax(dim=(1, 2), keepdim=True)
        full = (total - low - 1e-5).clamp(min=0) / (high - low + 1e-5)
        # Stride 2: the middle of the four pixels of a position.
        expected = full.unflatten(1, (6, 2)).unflatten(3, (5, 2)).mean(dim=(2, 4))[torch.tensor(LABELS[n]).bool()]
        torch.testing.assert_close(cam.double(), expected, rtol=0, atol=1e-3)


def test_two_steps_move_content():
    model, inputs = toy_seam(), images()
    outputs = [MultiScaleFlip((0.5,), stride=1, align_views=align)(model.compute_cam, inputs, None).cam
               for align in (False, True)]
    assert (outputs[0] - outputs[1]).abs().max() > 0.05 * outputs[0].max()
