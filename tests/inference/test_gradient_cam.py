import gc
import weakref
from functools import partial

import pytest
import torch
from gradient_cam_reference import LOOPS
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.inference import MultiScaleFlip, compose, grad_cam, grad_cam_pp, layer_cam
from mmwsss.models import CAMClassifier
from mmwsss.registry import CAM_PROVIDERS, MODELS
from mmwsss.structures.maps import resize_maps
from mmwsss.utils.errors import UserError

NAMES = ['GradCAM', 'GradCAMPlusPlus', 'LayerCAM']
LABELS = torch.tensor([[1., 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])


@MODELS.register_module(force=True)
class ThreeStageToyBackbone(BaseModule):
    # Three convolutions with BatchNorm and ReLU in place; strides 2, 4 and 4.
    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(i, o, 3, stride=s, padding=1)
                                         for i, o, s in ((3, 4, 2), (4, 5, 2), (5, 6, 1)))
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(o) for o in (4, 5, 6))

    def forward(self, inputs, first=0):
        feats = []
        for conv, norm in list(zip(self.convs, self.norms))[first:]:
            inputs = torch.nn.functional.relu(norm(conv(inputs)), inplace=True)
            feats.append(inputs)
        return tuple(feats)


def make_model(**kwargs):
    torch.manual_seed(0)
    model = CAMClassifier(backbone=dict(type='ThreeStageToyBackbone'),
                          cam_head=dict(type='CAMHead', in_channels=6, num_classes=4),
                          data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3), **kwargs)
    for conv in (*model.backbone.convs, model.cam_head.conv_cam):
        torch.nn.init.kaiming_normal_(conv.weight)
    return model.eval()


def make_images(count=3, size=(16, 12)):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def build(name, **kwargs):
    return CAM_PROVIDERS.build(dict(type=name, **kwargs))


def samples():
    result = [SegDataSample(metainfo=dict(ori_shape=(16, 12))) for _ in LABELS]
    for sample, label in zip(result, LABELS):
        sample.gt_img_label = LabelData(label=label)
    return result


FUNCTIONS = dict(GradCAM=grad_cam, GradCAMPlusPlus=grad_cam_pp, LayerCAM=layer_cam)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('shape', [(2, 5, 3, 4), (1, 1, 1, 1), (3, 2, 1, 6)])
def test_functions_equal_loops_over_positions(name, shape):
    generator = torch.Generator().manual_seed(sum(shape))
    feats = torch.rand(shape, generator=generator, dtype=torch.float64)
    grads = torch.randn(shape, generator=generator, dtype=torch.float64).index_fill_(2, torch.tensor(0), 0.5)
    grads[:, 1:, 0, 0] = 0  # where alpha, as it is printed, is 0/0
    cam = FUNCTIONS[name](feats, grads)
    assert cam.shape == (shape[0], *shape[2:]) and cam.max() > 0
    for n in range(shape[0]):
        torch.testing.assert_close(cam[n], LOOPS[name](feats[n], grads[n]))


def test_alpha_is_that_of_derivatives_by_autograd():
    """The closed form against the general formula (eq. 10), its derivatives taken by autograd."""
    torch.manual_seed(3)
    weight = torch.randn(4, dtype=torch.float64)
    feats = torch.rand(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)

    def score(values):
        return (values.view(1, 4, 2, 3).mean(dim=(2, 3)) @ weight).sum()

    flat, first, second, third = feats.detach().flatten(), [], [], []
    for index in range(flat.numel()):
        value = flat.clone().requires_grad_()
        derivative = score(value).exp()
        for found in (first, second, third):
            derivative = torch.autograd.grad(derivative, value, create_graph=True)[0][index]
            found.append(derivative.detach())
    first, second, third = map(torch.stack, (first, second, third))
    alpha = second / (2 * second + flat.view(4, -1).sum(dim=1).repeat_interleave(6) * third)
    weights = (alpha * first.clamp(min=0)).view(4, -1).sum(dim=1)
    expected = (weights[:, None, None] * feats[0]).sum(dim=0).clamp(min=0)
    grads, = torch.autograd.grad(score(feats.flatten()), feats)
    value = score(feats.detach().flatten())[None]
    torch.testing.assert_close(grad_cam_pp(feats, grads, value)[0], expected)


def test_grad_cam_pp_does_not_vanish_for_tiny_gradients():
    # A weight of 1e-3 behind the average over 100 x 100 positions: the square is 1e-14, the cube 1e-21.
    feats = torch.rand(1, 3, 100, 100, generator=torch.Generator().manual_seed(0))
    grads = torch.full_like(feats, 1e-7)
    expected = 100 ** 2 * 1e-7 / (2 + feats[0].double().sum(dim=(1, 2)) * 1e-7)
    torch.testing.assert_close(grad_cam_pp(feats, grads)[0].double(),
                               (expected[:, None, None] * feats[0].double()).sum(dim=0), rtol=1e-4, atol=0)


def test_a_denominator_of_zero_counts_as_one():
    # 2 + (3 - 5) * 1 = 0 at both positions; the weight is then 1 * 1 + 1 * 1.
    feats = torch.tensor([[[[3.0, -5.0]]]])
    assert grad_cam_pp(feats, torch.ones_like(feats)).tolist() == [[[6, 0]]]


def test_the_exponential_of_a_large_score_is_finite():
    feats = torch.rand(2, 3, 4, 4)
    assert grad_cam_pp(feats, torch.ones_like(feats), torch.tensor([500.0, 1e9])).isfinite().all()


@pytest.mark.parametrize('times_area', [True, False])
def test_grad_cam_of_the_last_stage_is_the_cam(times_area):
    model, images = make_model(), make_images()
    plain = model.compute_cam(images)
    output = build('GradCAM', stage='2', times_area=times_area)(model, images, None)
    factor = 1 if times_area else 1 / (4 * 3)
    torch.testing.assert_close(output.cam, plain.cam.detach() * factor)
    torch.testing.assert_close(output.logits, plain.logits.detach())
    assert list(output.feats) == ['0', '1', '2']
    for stage, feat in plain.feats.items():
        torch.testing.assert_close(output.feats[stage], feat.detach())


def finite_differences(model, tap, stage, c, eps=1e-4):
    """Gradient of the score of class c with respect to one image's features, one element at a time."""
    grad = torch.zeros_like(tap)
    for index in range(tap.numel()):
        values = []
        for sign in (1, -1):
            moved = tap.clone()
            moved.view(-1)[index] += sign * eps
            maps = model.cam_head(model.backbone(moved[None], first=stage + 1))
            values.append(maps.mean(dim=(2, 3))[0, c])
        grad.view(-1)[index] = (values[0] - values[1]) / (2 * eps)
    return grad


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_a_middle_stage_equals_loops_over_finite_differences(name):
    model, images = make_model().double(), make_images(1, (9, 7)).double()
    labels = torch.tensor([[1., 1, 0, 0]])
    options = dict(exp_score=True) if name == 'GradCAMPlusPlus' else dict(times_area=False)
    output = build(name, stage='1', **options)(model, images, labels)
    tap = model.backbone(images)[1][0]
    assert output.cam.shape == (1, 4, 3, 2) and output.cam.dtype == torch.float32
    assert (output.cam[0, 2:] == 0).all() and (output.cam[0, :2].amax(dim=(1, 2)) > 0).all()
    for c in (0, 1):
        expected = LOOPS[name](tap, finite_differences(model, tap, 1, c), output.logits[0, c])
        torch.testing.assert_close(output.cam[0, c].double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('stage', ['0', '2'])
def test_a_batch_equals_its_images_and_only_labelled_classes_are_made(name, stage):
    model, images, provider = make_model(), make_images(), build(name, stage=stage)
    together = provider(model, images, LABELS)
    everything = provider(model, images, None)
    for n in range(3):
        alone = provider(model, images[n:n + 1], LABELS[n:n + 1])
        torch.testing.assert_close(together.cam[n:n + 1], alone.cam)
        torch.testing.assert_close(together.logits[n:n + 1], alone.logits)
    torch.testing.assert_close(together.cam, everything.cam * LABELS[:, :, None, None])
    assert (everything.cam.amax(dim=(2, 3)) > 0).sum() >= 9 and (together.cam[LABELS > 0].amax(dim=(1, 2)) > 0).all()


def test_one_backward_pass_for_each_class_of_the_image_with_most(monkeypatch):
    calls, plain = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, 'grad', lambda *args, **kwargs: calls.append(kwargs) or plain(*args, **kwargs))
    build('GradCAM')(make_model(), make_images(), LABELS)
    assert [call['retain_graph'] for call in calls] == [True, False]


def check_detached(output):
    for tensor in (output.cam, output.logits, *output.feats.values()):
        assert not tensor.requires_grad and tensor.grad_fn is None


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('context', [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize('frozen', [True, False])
def test_gradient_modes_and_frozen_parameters(name, context, frozen):
    model, images, provider = make_model(), make_images(), build(name, stage=1)
    expected = provider(model, images, LABELS).cam
    model.requires_grad_(not frozen)
    with context():
        output = provider(model, images + 0, LABELS.clone())
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == (
            context is torch.enable_grad, context is torch.inference_mode)
        output.cam * output.logits[..., None, None]
    torch.testing.assert_close(output.cam, expected)
    check_detached(output)
    assert all(p.grad is None and p.requires_grad is not frozen for p in model.parameters())


def test_inputs_of_the_caller_are_left_alone():
    images = make_images().requires_grad_()
    check_detached(build('GradCAM')(make_model(), images, None))
    assert images.grad is None and torch.equal(images.detach(), make_images())
    build('GradCAM')(make_model(), images := make_images(), None)
    assert not images.requires_grad


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('context', [torch.no_grad, torch.inference_mode])
def test_bfloat16_autocast(name, context):
    model = make_model(test_cfg=dict(class_filter='score', score_thr=0.0), cam_provider=dict(type=name))
    images = make_images()
    expected = model.cam_provider(model, images, None)
    with context(), torch.autocast('cpu', torch.bfloat16):
        # Autocast keeps its copies of the weights: those made without gradient must do for both.
        model.compute_cam(images)
        output = model.cam_provider(model, images, None)
        predictions = model.predict(images)
    assert output.cam.dtype == torch.float32
    assert (output.cam - expected.cam).abs().max() < 0.03 * expected.cam.max()
    check_detached(output)
    assert all(p.grad is None for p in model.parameters())
    assert all(prediction.pred_cam.data.shape[0] == 4 for prediction in predictions)


class HalfFeatures(torch.nn.Module):
    """A CAM model whose last feature map, and so its gradient, is float16."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1e-4, -2e-4, 3e-4]).view(1, 3, 1, 1))

    def forward_maps(self, inputs):
        feat = inputs.relu().half()
        return (feat * self.weight).sum(dim=1, keepdim=True), (inputs * 2, feat)

    def pool(self, maps):
        return maps.float().mean(dim=(2, 3))


def test_gradients_do_not_underflow_in_half_precision():
    # The gradient is 1e-4 / 128^2 = 6e-9, ten times below the least that float16 holds.
    model, images = HalfFeatures(), make_images(2, (128, 128))
    feat = model.forward_maps(images)[1][1]
    feats, grads = feat.detach().double(), (model.weight / 128 ** 2).detach().expand_as(feat).double()
    for name, function in FUNCTIONS.items():
        cam, factor = build(name)(model, images, None).cam, 1 if name == 'GradCAMPlusPlus' else 128 ** 2
        torch.testing.assert_close(cam[:, 0].double(), factor * function(feats, grads), rtol=2e-3, atol=5e-7)


def count_tensors():
    gc.collect()
    return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())


@torch.no_grad()
def test_leaves_nothing_behind():
    model, images, providers = make_model(), make_images(), [build(name, stage='1') for name in NAMES]
    for provider in providers:
        provider(model, images, LABELS)
    before = count_tensors()
    for provider in providers * 20:
        provider(model, images, LABELS)
    assert count_tensors() == before
    assert all(p.grad is None and not p._backward_hooks for p in model.parameters())
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_graph_is_gone_while_the_output_lives(monkeypatch):
    """Without waiting for the garbage collector: gradient graphs are as large as the forward pass."""
    model, seen = make_model(), []
    plain = model.forward_maps

    def watching(inputs):
        maps, feats = plain(inputs)
        seen.extend(map(weakref.ref, (inputs, maps, *feats)))
        return maps, feats

    monkeypatch.setattr(model, 'forward_maps', watching)
    gc.disable()
    try:
        output = build('GradCAM')(model, make_images(), LABELS)
        assert len(seen) == 5 and all(ref() is None for ref in seen)
    finally:
        gc.enable()
    check_detached(output)


def test_scales_and_flips_of_grad_cam_are_those_of_the_cam():
    """The reason for ``times_area``: views of different sizes weigh as they do for CAM."""
    model, images = make_model(), make_images()
    hook = MultiScaleFlip(scales=(0.5, 1.0, 2.0))
    plain = hook(model.compute_cam, images, None).cam.detach()

    torch.testing.assert_close(hook(partial(build('GradCAM'), model), images, None).cam, plain)
    printed = hook(partial(build('GradCAM', times_area=False), model), images, None).cam
    assert (printed / printed.amax() - plain / plain.amax()).abs().max() > 0.05


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('hooks', [[], [dict(type='MultiScaleFlip', scales=(0.5, 1.0, 2.0))]])
@torch.no_grad()
def test_predictions(name, hooks):
    model = make_model(cam_provider=dict(type=name, stage='1'), inference_hooks=hooks)
    predictions = model(images := make_images(), samples(), mode='predict')
    plain = compose(model.compute_cam, model.inference_hooks)(images, None)
    for n, prediction in enumerate(predictions):
        cam = prediction.pred_cam.data
        assert cam.shape == (int(LABELS[n].sum()), 4, 3) and all(cam.amax(dim=(1, 2)) == 1)
        torch.testing.assert_close(prediction.pred_img_label.score, plain.logits[n].sigmoid())
        for k, c in enumerate(LABELS[n].nonzero().flatten()):
            alone = compose(partial(model.cam_provider, model), model.inference_hooks)(images[n:n + 1], None).cam
            expected = resize_maps(alone, (4, 3))[0, c]
            torch.testing.assert_close(cam[k].float(), expected / expected.max(), rtol=0, atol=1e-3)


def test_channels_last_and_one_pixel():
    model, images = make_model(), make_images()
    channels_last = images.contiguous(memory_format=torch.channels_last)
    for name in NAMES:
        torch.testing.assert_close(build(name, stage='0')(model, channels_last, LABELS).cam,
                                   build(name, stage='0')(model, images, LABELS).cam)
        assert build(name)(model, make_images(1, (1, 1)), None).cam.shape == (1, 4, 1, 1)


@pytest.mark.parametrize('stage', ['3', 7, '-1', 'last'])
@pytest.mark.parametrize('name', NAMES)
def test_unknown_stage(name, stage):
    for error in (ValueError, UserError):
        with pytest.raises(error, match=f"{name}: there is no stage '{stage}'.* '0', '1', '2'$"):
            build(name, stage=stage)(make_model(), make_images(), None)


def test_stage_that_the_scores_do_not_depend_on():
    with pytest.raises(ValueError, match="LayerCAM: the scores do not depend on stage '0'"):
        build('LayerCAM', stage='0')(HalfFeatures(), make_images(), None)

    class Detached(HalfFeatures):
        def forward_maps(self, inputs):
            maps, feats = super().forward_maps(inputs)
            return maps, tuple(feat.detach() for feat in feats)

    with pytest.raises(ValueError, match='GradCAM: the backbone computes the last stage without gradient'):
        build('GradCAM')(Detached(), make_images(), None)


@pytest.mark.parametrize('config', ['grad_cam', 'grad_cam_pp', 'layer_cam'])
def test_configs(repo_root, config):
    cfg = Config.fromfile(repo_root / f'configs/gradient_cam/{config}_r50_small.py')
    assert CAM_PROVIDERS.build(cfg.model.pop('cam_provider')).stage == '3'
    assert cfg.to_dict() == Config.fromfile(repo_root / 'configs/cam/cam_r50_small.py').to_dict()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [None, torch.float16, torch.bfloat16])
def test_cuda(name, dtype):
    model, images, provider = make_model(), make_images(), build(name, stage='1')
    expected = provider(model, images, LABELS).cam
    with torch.no_grad(), torch.autocast('cuda', dtype, enabled=dtype is not None):
        output = provider(model.cuda(), images.cuda(), LABELS)
    assert output.cam.dtype == torch.float32
    assert (output.cam.cpu() - expected).abs().max() < (0.03 if dtype else 1e-3) * expected.max()
