import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from infer_cam_reference import one_crop_at_a_time

from mmwsss.config.config import load_config
from mmwsss.inference import InferCam, IterativeErase, MultiScaleFlip, SplitUnite, compose
from mmwsss.registry import INFERENCE_HOOKS, MODELS
from mmwsss.structures import CAMOutput

ROOT = Path(__file__).parents[2]
KERNEL = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([[0., 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1], [1, 1, 1, 1]])
SPLIT = dict(overlap=(3, 5), min_size=6, align=1, normalize='patch', include_base=False)
ERASE = dict(stop_area=0.02, max_rounds=4, normalize='round')


def cam_function(inputs, labels):
    """A small network with maps at stride 2."""
    maps = F.conv2d(inputs - inputs.mean(dim=(2, 3), keepdim=True), KERNEL.to(inputs), stride=2, padding=2)
    return CAMOutput(cam=maps.relu(), logits=maps.mean(dim=(2, 3)), feats={'0': maps})


def make_images(count=5, size=(42, 31), seed=1):
    coarse = torch.randn(count, 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size, mode='bicubic') + 0.5


class Recorder:
    def __init__(self):
        self.inputs = []

    def __call__(self, inputs, labels):
        self.inputs.append(inputs)
        return cam_function(inputs, labels)


@pytest.mark.parametrize(('split', 'erase', 'reference'), [
    (dict(), dict(), 'image'), (dict(), dict(), 'patch'), (dict(multi_class='none'), dict(erase='class'), 'image'),
    (dict(normalize='image'), dict(accumulate='sum'), 'image'),
    (dict(), dict(erase='class', accumulate='sum'), 'patch'),
    (dict(base_scale=0.5, align=8), dict(fill='dataset_mean', stop_area=0.0), 'image'),
    (dict(overlap=(0, 0), stride=2), dict(max_rounds=1), 'patch'),
    (dict(patch_scale=1.6), dict(), 'image'),
    (dict(patch_scale=0.7, include_base=True), dict(normalize='first'), 'patch'),
    (dict(normalize='image', include_base=True), dict(mirror_mask=False), 'image'),
    (dict(min_strength=0.6), dict(min_strength=0.5, accumulate='sum'), 'image'),
    # The defaults, with patches of a size that fits these images; the paper to the letter; the released code.
    (dict(normalize='image', include_base=True, overlap=(10, 20), min_size=8, align=8),
     dict(normalize='first', stop_area=0.01, max_rounds=5), 'image'),
    (dict(overlap=(0, 0), min_size=1), dict(accumulate='sum', stop_area=0.01, max_rounds=5), 'image'),
    (dict(multi_class='none', overlap=(10, 20), min_size=1), dict(stop_area=0.02, max_rounds=5, mirror_mask=False),
     'patch')])
def test_equals_one_image_patch_and_round_at_a_time(split, erase, reference):
    images = make_images()
    hook = InferCam({**SPLIT, **split}, {**ERASE, **erase}, reference)
    output = hook(cam_function, images, LABELS)
    assert output.feats == {} and output.cam.min() == 0
    for n in range(len(images)):
        torch.testing.assert_close(output.cam[n], one_crop_at_a_time(hook, cam_function, images[n], LABELS[n]))
        alone = hook(cam_function, images[n:n + 1], LABELS[n:n + 1])
        torch.testing.assert_close(alone.cam[0], output.cam[n])
        torch.testing.assert_close(alone.logits[0], output.logits[n])


def test_defaults_are_those_that_are_compared_above():
    hook = InferCam()
    assert (hook.split.normalize, hook.split.include_base, hook.split.overlap) == ('image', True, (10, 20))
    assert (hook.erase.normalize, hook.erase.stop_area, hook.erase.max_rounds) == ('first', 0.01, 5)
    assert (hook.split.patch_scale, hook.split.min_strength, hook.erase.min_strength) == (1, 0, 0)


def test_one_round_is_split_and_unite():
    images = make_images()
    output = InferCam(SPLIT, dict(max_rounds=1))(cam_function, images, LABELS)
    torch.testing.assert_close(output.cam, SplitUnite(**SPLIT)(cam_function, images, LABELS).cam)


def test_of_the_patch_it_is_both_hooks_one_around_the_other():
    # But for the base, which has no rounds here; coarse boxes are mostly the same all the same.
    images, labels = make_images(), torch.tensor([[0., 1, 0, 0]]).expand(5, 4)
    output = InferCam({**SPLIT, 'align': 30, 'min_size': 12}, ERASE, 'patch')(cam_function, images, labels)
    nested = compose(cam_function, [SplitUnite(**{**SPLIT, 'align': 30, 'min_size': 12}), IterativeErase(**ERASE)])
    same = torch.isclose(nested(images, labels).cam, output.cam).flatten(1).all(dim=1)
    assert same.sum() >= 3


def test_nothing_goes_through_twice_and_finished_patches_leave():
    images, recorder = make_images(), Recorder()
    InferCam({**SPLIT, 'align': 8}, ERASE)(recorder, images, LABELS)
    by_size = {}
    for inputs in recorder.inputs:
        by_size.setdefault(inputs.shape[1:], []).append(inputs)
    counts = [list(map(len, batches)) for batches in by_size.values()]
    assert max(map(len, counts)) > 2 and any(batches != sorted(batches) for batches in counts)
    for batches in by_size.values():
        seen = torch.cat(batches).flatten(1)
        assert len(torch.unique(seen, dim=0)) == len(seen)
    area = images[:, 0].numel()
    assert all(len(inputs) * inputs.shape[2] * inputs.shape[3] <= area for inputs in recorder.inputs)


def test_rounds_of_a_class_are_made_in_its_own_split_only():
    images, recorder = make_images()[3:4], Recorder()
    InferCam(SPLIT, dict(erase='class', max_rounds=2, stop_area=0.0))(recorder, images, LABELS[3:4])
    # The image, 4 patches for each of 3 classes, and for each patch one erased image.
    assert sum(map(len, recorder.inputs)) == 1 + 12 + 12


@pytest.mark.parametrize('change', [
    dict(reference='patch'), dict(split=dict(normalize='image')), dict(split=dict(multi_class='none')),
    dict(split=dict(patch_scale=1.5)), dict(split=dict(include_base=True)), dict(split=dict(min_strength=0.9)),
    dict(erase=dict(normalize='first')), dict(erase=dict(min_strength=0.9)), dict(erase=dict(mirror_mask=False)),
    dict(erase=dict(max_rounds=2)), dict(erase=dict(accumulate='sum')), dict(erase=dict(fill='dataset_mean'))])
def test_every_switch_changes_the_maps(change):
    images = make_images()
    default = InferCam(SPLIT, ERASE)(cam_function, images, LABELS).cam
    changed = InferCam({**SPLIT, **change.get('split', {})}, {**ERASE, **change.get('erase', {})},
                       change.get('reference', 'image'))
    assert not torch.allclose(changed(cam_function, images, LABELS).cam, default, atol=1e-3)


FEW = dict(stop_area=0.0, max_rounds=2)
PARTS = [InferCam(SPLIT, FEW), SplitUnite(**SPLIT), IterativeErase(**FEW), MultiScaleFlip((0.5, 1.0))]


@pytest.mark.parametrize('hooks', list(itertools.permutations(PARTS, 2)) + [
    (PARTS[1], PARTS[3], PARTS[2]), (PARTS[2], PARTS[1], PARTS[3]), (PARTS[3], PARTS[2], PARTS[1])],
    ids=lambda hooks: '-'.join(type(hook).__name__ for hook in hooks))
def test_composes_in_any_order(hooks):
    images = make_images(3)
    labels = LABELS[[1, 2, 3]]
    output = compose(cam_function, hooks)(images, labels)
    assert output.cam.isfinite().all() and output.cam.min() == 0 and output.logits.shape == (3, 4)
    assert torch.equal(output.cam.amax(dim=(2, 3)) > 0, labels > 0) or isinstance(hooks[-1], MultiScaleFlip)
    for n in range(3):
        alone = compose(cam_function, hooks)(images[n:n + 1], labels[n:n + 1])
        torch.testing.assert_close(alone.cam[0], output.cam[n])


def test_without_labels_and_small_images():
    images = make_images(2)
    torch.testing.assert_close(InferCam(SPLIT, ERASE)(cam_function, images, None).cam,
                               InferCam(SPLIT, ERASE)(cam_function, images, torch.ones(2, 4)).cam)
    for size in ((1, 1), (1, 40), (50, 2)):
        output = InferCam()(cam_function, make_images(5, size), LABELS)
        assert output.cam.shape[-2:] == (-(-size[0] // 4), -(-size[1] // 4)) and output.cam.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('labels', [LABELS, None])
def test_gpu_gives_what_the_cpu_gives(labels):
    images = make_images()
    hook = InferCam({**SPLIT, 'align': 8}, ERASE)
    expected = hook(cam_function, images.double(), labels)  # double, so that no pixel is at the threshold by rounding
    output = hook(cam_function, images.double().cuda(), None if labels is None else labels.cuda())
    assert output.cam.is_cuda
    torch.testing.assert_close(output.cam.cpu(), expected.cam, atol=1e-4, rtol=1e-3)


def test_repetition_gives_the_same_bits():
    images = make_images()
    hook = compose(cam_function, [InferCam(SPLIT, ERASE), MultiScaleFlip((0.5, 1.0))])
    assert torch.equal(hook(images, LABELS).cam, hook(images, LABELS).cam)


def test_bad_options():
    with pytest.raises(ValueError, match='InferCam: reference'):
        InferCam(reference='batch')
    with pytest.raises(ValueError, match='SplitUnite'):
        InferCam(split=dict(align=0))
    with pytest.raises(ValueError, match='IterativeErase'):
        InferCam(erase=dict(max_rounds=0))


@pytest.mark.parametrize('config', sorted(path.name for path in (ROOT / 'configs/infercam').glob('*.py')))
def test_configs_predict(config, generated_root):
    cfg = load_config(ROOT / 'configs/infercam' / config, generated_root)
    hooks = [INFERENCE_HOOKS.build(hook) for hook in cfg.model.inference_hooks]
    images = make_images(2, (64, 48))
    output = compose(cam_function, hooks)(images, LABELS[1:3])
    assert output.cam.shape == (2, 4, 16, 12) and output.cam.isfinite().all() and output.cam.max() > 0


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
def test_in_a_model(repo_root, generated_root, tiny_cam_options, dtype):
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, tiny_cam_options)
    cfg.model.inference_hooks = [dict(type='InferCam', erase=dict(max_rounds=2)),
                                 dict(type='MultiScaleFlip', scales=(1.0,))]
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad(), torch.autocast('cpu', dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        output = compose(model.cam_function, model.inference_hooks)(make_images(2, (64, 80)), LABELS[[1, 2], :3])
    assert output.cam.dtype == torch.float32 and output.cam.isfinite().all()
    assert torch.equal(output.cam.amax(dim=(2, 3)) > 0, LABELS[[1, 2], :3] > 0)
