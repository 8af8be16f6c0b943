import itertools

import pytest
import torch
import torch.nn.functional as F
from infer_cam_reference import one_crop_at_a_time

from mmwsss.inference import IterativeErase, MultiScaleFlip, SplitUnite, compose
from mmwsss.inference.crops import centre_of_mass, plan_split
from mmwsss.inference.split_unite import batch_by_size
from mmwsss.structures import CAMOutput
from mmwsss.structures.maps import max_normalize

KERNEL = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
# No class, one, two, three and four of them.
LABELS = torch.tensor([[0., 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1], [1, 1, 1, 1]])
SMALL = dict(overlap=(3, 5), min_size=6, align=1, normalize='patch', include_base=False)


def cam_function(inputs, labels):
    """A small network with maps at stride 2, whose context makes patches differ from the image."""
    maps = F.conv2d(inputs - inputs.mean(dim=(2, 3), keepdim=True), KERNEL, stride=2, padding=2)
    return CAMOutput(cam=maps.relu(), logits=maps.mean(dim=(2, 3)), feats={'0': maps})


def make_images(count=5, size=(42, 31), seed=1):
    coarse = torch.randn(count, 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size, mode='bicubic')


class Recorder:
    """A CAM function that remembers what went through it."""

    def __init__(self, function=cam_function):
        self.function, self.inputs, self.labels = function, [], []

    def __call__(self, inputs, labels):
        self.inputs.append(inputs)
        self.labels.append(labels)
        return self.function(inputs, labels)


@pytest.mark.parametrize('options', [
    dict(), dict(multi_class='none'), dict(overlap=(0, 0)), dict(overlap=(7, 2)), dict(normalize='image'),
    dict(base_scale=0.5), dict(base_scale=0.5, multi_class='none'), dict(min_size=16), dict(align=8), dict(align=13),
    dict(stride=1), dict(stride=3), dict(patch_scale=1.7), dict(patch_scale=0.6), dict(include_base=True),
    dict(include_base=True, normalize='image', base_scale=0.5), dict(min_strength=0.8),
    dict(min_strength=0.5, base_scale=0.5)])
def test_equals_one_image_and_patch_at_a_time(options):
    images = make_images()
    hook = SplitUnite(**{**SMALL, **options})
    output = hook(cam_function, images, LABELS)
    stride = options.get('stride', 4)
    assert output.cam.shape == (5, 4, -(-42 // stride), -(-31 // stride)) and output.feats == {}
    for n in range(len(images)):
        torch.testing.assert_close(output.cam[n], one_crop_at_a_time(hook, cam_function, images[n], LABELS[n]))
        alone = hook(cam_function, images[n:n + 1], LABELS[n:n + 1])
        torch.testing.assert_close(alone.cam[0], output.cam[n])
        torch.testing.assert_close(alone.logits[0], output.logits[n])


def pointwise(inputs, labels):
    """A CAM without context: that of a patch is the patch of the CAM."""
    maps = torch.cat([inputs, inputs[:, :1] * 2], dim=1).relu()
    return CAMOutput(cam=maps, logits=maps.mean(dim=(2, 3)))


def test_patches_are_pasted_where_they_were_cut_out():
    images = make_images()
    united = SplitUnite(stride=1, **{**SMALL, 'normalize': 'image'})(pointwise, images, LABELS)
    expected = pointwise(images, LABELS)
    torch.testing.assert_close(united.cam, expected.cam * LABELS[:, :, None, None])
    assert torch.equal(united.logits, expected.logits)


def test_every_patch_is_divided_by_its_maximum():
    image, label = make_images(1), LABELS[1:2]
    cam = pointwise(image, label).cam[0, 1]
    cy, cx = (round(float(n)) for n in centre_of_mass(cam[None], (42, 31))[0])
    expected = torch.zeros_like(cam)
    for rows, columns in itertools.product((slice(0, cy), slice(cy, 42)), (slice(0, cx), slice(cx, 31))):
        expected[rows, columns] = cam[rows, columns] / cam[rows, columns].max()
    hook = SplitUnite(stride=1, overlap=(0, 0), min_size=1, align=1, normalize='patch', include_base=False)
    united = hook(pointwise, image, label)
    torch.testing.assert_close(united.cam[0, 1], expected)


def test_a_patch_without_the_object_stays_faint():
    """A corner with a thousandth of the object's activation ends at 1 by its own maximum."""
    image = torch.zeros(1, 3, 40, 40)
    image[0, 0, :16, 24:] = image[0, 0, 24:, :16] = 1.0
    image[0, 0, 2, 2] = 0.001
    label = torch.tensor([[1.0, 0, 0, 0]])
    options = dict(stride=1, overlap=(0, 0), min_size=1, align=1, normalize='patch', include_base=False)
    found = {share: SplitUnite(min_strength=share, **options)(pointwise, image, label).cam[0, 0]
             for share in (0.0, 0.1, 1.0)}
    for share, expected in ((0.0, 1.0), (0.1, 0.01), (1.0, 0.001)):
        assert found[share][2, 2].item() == pytest.approx(expected, rel=1e-4)
        assert found[share][2, 30] == found[share][30, 2] == 1


@pytest.mark.parametrize(('erase', 'corner'), [
    (dict(max_rounds=1), 0.001), (dict(), 0.001), (dict(normalize='round'), 1.0)])
def test_rounds_inside_leave_patches_their_strengths(erase, corner):
    image = torch.zeros(1, 3, 40, 40)
    image[0, 0, :16, 24:] = image[0, 0, 24:, :16] = 1.0
    image[0, 0, 2, 2] = 0.001
    split = SplitUnite(stride=1, overlap=(0, 0), min_size=1, align=1, include_base=False)
    united = compose(pointwise, [split, IterativeErase(fill='dataset_mean', **erase)])(
        image, torch.tensor([[1.0, 0, 0, 0]]))
    assert united.cam[0, 0, 2, 2].item() == pytest.approx(corner, rel=1e-4)
    assert united.cam[0, 0, 2, 30] == united.cam[0, 0, 30, 2] == 1


@pytest.mark.parametrize('scale', [1.5, 2.0, 4.0])
def test_enlarged_patches_stay_within_the_pixels_of_the_batch(scale):
    images, recorder = make_images(), Recorder()
    SplitUnite(**{**SMALL, 'patch_scale': scale})(recorder, images, LABELS)
    whole = images[0, 0].numel()
    for x in recorder.inputs:
        pixels = len(x) * x.shape[2] * x.shape[3]
        # One patch alone may have more: as much as the whole image would have.
        assert pixels <= 1.1 * (5 * whole if len(x) > 1 else max(5, scale ** 2) * whole)
    assert scale > 2 or max(map(len, recorder.inputs[1:])) > 1


def test_scores_are_those_of_the_whole_image():
    images = make_images()
    torch.testing.assert_close(SplitUnite(**SMALL)(cam_function, images, LABELS).logits,
                               cam_function(images, None).logits)


def test_each_patch_goes_through_once_with_its_size():
    images, recorder = make_images(), Recorder()
    images[3] = images[4]  # an image may come twice; its patches are its own
    hook = SplitUnite(**{**SMALL, 'align': 8})
    hook(recorder, images, LABELS)
    base, *patches = recorder.inputs
    assert torch.equal(base, images)
    sizes = {}
    for n, (label, cam) in enumerate(zip(LABELS, cam_function(images, None).cam)):
        centres = centre_of_mass(cam[label > 0], (42, 31))
        for top, left, bottom, right in plan_split(centres, (42, 31), True, hook.overlap, 6, 8):
            sizes.setdefault((bottom - top, right - left), []).append((n, images[n, :, top:bottom, left:right]))
    assert len(patches) < sum(map(len, sizes.values()))  # some are of one size
    for inputs, labels in zip(patches, recorder.labels[1:]):
        assert len(inputs) * inputs.shape[2] * inputs.shape[3] <= images[:, 0].numel()
        for patch, label in zip(inputs, labels):
            found = [(n, expected) for n, expected in sizes[tuple(patch.shape[1:])] if torch.equal(expected, patch)]
            assert found and any(torch.equal(LABELS[n], label) for n, _ in found)
    assert sum(map(len, patches)) == sum(map(len, sizes.values()))


def test_whole_images_are_not_made_again():
    images = make_images()
    recorder = Recorder()
    output = SplitUnite(multi_class='none', **SMALL)(recorder, images[3:], LABELS[3:])
    assert len(recorder.inputs) == 1
    cam = max_normalize(cam_function(images[3:], None).cam) * LABELS[3:, :, None, None]
    for size in ((42, 31), (11, 8)):
        cam = F.interpolate(cam, size, mode='bilinear')
    torch.testing.assert_close(output.cam, cam)
    # Nor where there is no room to split, or nothing to split at.
    recorder = Recorder()
    SplitUnite(**{**SMALL, 'min_size': 22})(recorder, images, LABELS)
    assert len(recorder.inputs) == 1
    recorder = Recorder(lambda inputs, labels: CAMOutput(torch.zeros(len(inputs), 4, 5, 5), torch.zeros(5, 4)))
    assert (SplitUnite(**SMALL)(recorder, images, LABELS).cam == 0).all() and len(recorder.inputs) == 1
    # But from a base of another size it has to be.
    recorder = Recorder()
    SplitUnite(min_size=22, base_scale=0.5)(recorder, images, LABELS)
    assert [tuple(x.shape) for x in recorder.inputs] == [(5, 3, 21, 16), (4, 3, 42, 31)]


def test_images_without_class_are_left_alone():
    recorder = Recorder()
    output = SplitUnite(**SMALL)(recorder, make_images(2), torch.zeros(2, 4))
    assert len(recorder.inputs) == 1 and output.cam.shape == (2, 4, 11, 8) and (output.cam == 0).all()


def test_without_labels_every_class_counts():
    images, recorder = make_images(2), Recorder()
    output = SplitUnite(**SMALL)(recorder, images, None)
    assert all(labels is None for labels in recorder.labels)
    torch.testing.assert_close(output.cam, SplitUnite(**SMALL)(cam_function, images, torch.ones(2, 4)).cam)


@pytest.mark.parametrize('change', [
    dict(multi_class='none'), dict(overlap=(0, 5)), dict(overlap=(3, 0)), dict(normalize='image'),
    dict(base_scale=0.5), dict(min_size=18), dict(align=16), dict(patch_scale=2.0), dict(include_base=True),
    dict(min_strength=1.0)])
def test_every_switch_changes_the_maps(change):
    images = make_images()
    default = SplitUnite(**SMALL)(cam_function, images, LABELS).cam
    assert not torch.allclose(SplitUnite(**{**SMALL, **change})(cam_function, images, LABELS).cam, default, atol=1e-3)


@pytest.mark.parametrize('hooks', [
    lambda split, scales: [split, scales], lambda split, scales: [scales, split],
    lambda split, scales: [split, scales, split]])
def test_composes_with_multi_scale_flip(hooks):
    images = make_images()
    chain = hooks(SplitUnite(**SMALL), MultiScaleFlip((0.5, 1.0)))
    output = compose(cam_function, chain)(images, LABELS)
    assert output.cam.shape == (5, 4, 11, 8) and output.cam.isfinite().all()
    assert torch.equal(output.cam.amax(dim=(2, 3)) > 0, LABELS > 0)
    for n in range(5):
        alone = compose(cam_function, chain)(images[n:n + 1], LABELS[n:n + 1])
        torch.testing.assert_close(alone.cam[0], output.cam[n])


def test_autocast_memory_format_and_repetition():
    images = make_images().contiguous(memory_format=torch.channels_last)
    recorder = Recorder(lambda inputs, labels: CAMOutput(
        *(x.bfloat16() for x in (cam_function(inputs, labels).cam, cam_function(inputs, labels).logits))))
    hook = SplitUnite(**SMALL)
    with torch.autocast('cpu', dtype=torch.bfloat16), torch.no_grad():
        output = hook(recorder, images, LABELS)
        assert torch.equal(hook(recorder, images, LABELS).cam, output.cam)
    assert output.cam.dtype == torch.float32 and output.cam.isfinite().all() and output.cam.min() == 0
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in recorder.inputs)


@pytest.mark.parametrize('size', [(1, 1), (1, 70), (64, 3)])
def test_small_images(size):
    images = make_images(5, size)
    output = SplitUnite()(cam_function, images, LABELS)
    assert output.cam.shape[-2:] == (-(-size[0] // 4), -(-size[1] // 4)) and output.cam.isfinite().all()


def test_batches_by_size():
    plans = [{(0, 0, 4, 5): [0], (1, 0, 5, 5): [0], (0, 0, 2, 2): [1]}, {}, {(3, 3, 7, 8): [0], (0, 0, 5, 4): [0]}]
    assert batch_by_size(plans, 60) == [
        ([2], [(0, 0, 5, 4)]), ([0, 0, 2], [(0, 0, 4, 5), (1, 0, 5, 5), (3, 3, 7, 8)]), ([0], [(0, 0, 2, 2)])]
    assert [len(owners) for owners, _ in batch_by_size(plans, 40)] == [1, 2, 1, 1]
    assert [len(owners) for owners, _ in batch_by_size(plans, 1)] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize('kwargs', [
    dict(multi_class='all'), dict(normalize='max'), dict(overlap=(1, 2, 3)), dict(overlap=(-1, 0)),
    dict(patch_scale=0), dict(min_strength=1.5), dict(min_strength=-0.1), dict(min_strength=0.1),
    dict(base_scale=0), dict(min_size=0), dict(align=0), dict(stride=0)])
def test_bad_options(kwargs):
    with pytest.raises(ValueError, match='SplitUnite'):
        SplitUnite(**kwargs)
