import itertools

import pytest
import torch
import torch.nn.functional as F
from infer_cam_reference import one_crop_at_a_time

from mmwsss.inference import IterativeErase, MultiScaleFlip, compose
from mmwsss.inference.iterative_erase import active_area, mean_colour, present_classes
from mmwsss.structures import CAMOutput

KERNEL = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([[1., 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]])


def cam_function(inputs, labels):
    """A small network with maps at stride 2."""
    maps = F.conv2d(inputs, KERNEL, stride=2, padding=2)
    return CAMOutput(cam=maps.relu(), logits=maps.mean(dim=(2, 3)), feats={'0': maps})


class Recorder:
    """A CAM function that remembers what went through it."""

    def __init__(self, function=cam_function):
        self.function, self.inputs, self.labels = function, [], []

    def __call__(self, inputs, labels):
        self.inputs.append(inputs)
        self.labels.append(labels)
        return self.function(inputs, labels)

    @property
    def counts(self):
        return [len(inputs) for inputs in self.inputs]


def make_images(count=5, size=(22, 18), seed=1):
    """Smooth images, so that what is active is more than a dot."""
    coarse = torch.randn(count, 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size, mode='bicubic')


@pytest.mark.parametrize(('accumulate', 'erase', 'fill'), itertools.product(
    ('max', 'sum'), ('any', 'class'), ('image_mean', 'dataset_mean')))
@pytest.mark.parametrize('stop_area', [0.0, 0.02])
def test_equals_one_image_and_round_at_a_time(accumulate, erase, fill, stop_area):
    images = make_images()
    hook = IterativeErase(accumulate, threshold=0.6, stop_area=stop_area, max_rounds=4, erase=erase, fill=fill)
    output = hook(cam_function, images, LABELS)
    assert output.feats == {} and torch.equal(output.logits, cam_function(images, None).logits)
    for n in range(len(images)):
        torch.testing.assert_close(output.cam[n], one_crop_at_a_time(hook, cam_function, images[n], LABELS[n]))


@pytest.mark.parametrize('options', [
    dict(normalize='round'), dict(normalize='round', min_strength=0.5), dict(mirror_mask=False),
    dict(normalize='round', erase='class'),
    dict(mirror_mask=False, erase='class', accumulate='sum'),
    dict(normalize='round', min_strength=0.8, accumulate='sum')])
def test_switches_equal_one_image_and_round_at_a_time(options):
    images = make_images()
    hook = IterativeErase(threshold=0.6, stop_area=0.0, max_rounds=4, **options)
    output = hook(cam_function, images, LABELS)
    for n in range(len(images)):
        torch.testing.assert_close(output.cam[n], one_crop_at_a_time(hook, cam_function, images[n], LABELS[n]))


def layers(inputs, labels):
    """The CAM of a class is its channel: what is brightest is most active."""
    return CAMOutput(cam=inputs[:, :2].relu(), logits=inputs.mean(dim=(2, 3)))


def test_rounds_by_hand():
    # Values 8, 4 and 2 in three columns; erased pixels become 0. Rounds: (1, .5, .25), (0, 1, .5), (0, 0, 1).
    image = torch.zeros(1, 3, 1, 4)
    image[0, 0, 0] = torch.tensor([8., 4., 2., 0.])
    label = torch.tensor([[1., 0.]])

    def cam(**kwargs):
        options = dict(threshold=0.7, stop_area=0.0, fill='dataset_mean', normalize='round')
        hook = IterativeErase(**{**options, **kwargs})
        output = hook(layers, image, label)
        assert (output.cam[0, 1] == 0).all()
        return output.cam[0, 0, 0].tolist()

    assert cam(max_rounds=1) == [1, .5, .25, 0]
    assert cam(max_rounds=2) == [1, 1, .5, 0]
    assert cam(max_rounds=3) == [1, 1, 1, 0]
    assert cam(max_rounds=9) == [1, 1, 1, 0]
    assert cam(max_rounds=2, accumulate='sum') == [1, 1.5, .75, 0]
    # What counts is a round's own activation: the third column has .75 in the sum, but .5 at most in a round.
    assert cam(max_rounds=3, accumulate='sum') == [1, 1.5, 1.75, 0]
    assert cam(max_rounds=9, normalize='first') == [8, 4, 2, 0]
    assert cam(max_rounds=9, min_strength=0.6) == [1, pytest.approx(4 / 4.8), pytest.approx(2 / 4.8), 0]
    assert cam(max_rounds=9, min_strength=0.4) == [1, 1, pytest.approx(2 / 3.2), 0]


@pytest.mark.parametrize(('options', 'expected'), [
    (dict(), 0.0), (dict(normalize='round'), 1.0), (dict(normalize='round', min_strength=.1), 0.0),
    (dict(accumulate='sum'), 0.0), (dict(erase='class'), 0.0)])
def test_nothing_in_the_first_round_is_no_measure(options, expected):
    """A ten-thousandth that appears in a later round is not the ten of its share of nothing, and erases nothing."""
    masks = []

    def faint(inputs, labels):
        masks.append((inputs[:, 0] == 0).flatten().tolist())
        cam = torch.zeros(len(inputs), 2, 1, 4)
        cam[:, 0] = torch.tensor([2., 1., 0, 0]).where(inputs[:, 0] != 0, torch.zeros(()))
        if len(masks) > 1:
            cam[:, 1] = 1e-4
        return CAMOutput(cam=cam, logits=torch.zeros(len(inputs), 2))

    hook = IterativeErase(stop_area=0.0, fill='dataset_mean', **options)
    output = hook(faint, torch.ones(1, 3, 1, 4), torch.ones(1, 2))
    assert output.cam[0, 1].max().item() == expected
    assert masks[1] == [True, False, False, False] and (len(masks) == 2 or 'normalize' in options)


def test_weak_in_every_round_is_never_erased():
    """Erasing by the running sum would paint over a pixel of .4 in the third round (.4 + .4 >= .7)."""
    masks = []

    def steady(inputs, labels):
        masks.append((inputs[:, 0] == 0).flatten().tolist())
        values = [1., .4, .4, 0] if len(masks) == 1 else [0, .4, .4, 1.]
        return CAMOutput(cam=torch.tensor(values).view(1, 1, 1, 4), logits=torch.zeros(1, 1))

    image = torch.ones(1, 3, 1, 4)
    hook = IterativeErase('sum', stop_area=0.0, max_rounds=4, fill='dataset_mean', normalize='round')
    hook(steady, image, torch.ones(1, 1))
    assert masks == [[False] * 4, [True, False, False, False], [True, False, False, True]]


def test_mask_that_is_not_mirrored():
    image = torch.zeros(1, 3, 1, 4)
    image[0, 0, 0] = torch.tensor([8., 4., 2., 1.])
    seen = []

    def look(inputs, labels):
        seen.extend(inputs[:, 0, 0].tolist())
        return layers(inputs, labels)

    hook = IterativeErase(max_rounds=2, stop_area=0.0, fill='dataset_mean', mirror_mask=False)
    hook(look, image, torch.tensor([[1., 0]]))
    # The mirror image has lost its first pixel, and keeps what was active in its last.
    assert seen == [[8, 4, 2, 1], [1, 2, 4, 8], [0, 4, 2, 1], [0, 2, 4, 8]]


def test_erased_pixels_get_the_colour():
    images = make_images(1)
    for fill, colour in (('image_mean', images.mean(dim=(2, 3))[0]), ('dataset_mean', torch.zeros(3))):
        recorder = Recorder()
        IterativeErase(fill=fill, max_rounds=2, threshold=0.5)(recorder, images, LABELS[:1])
        first, second = recorder.inputs
        erased = (first != second).any(dim=1)[0]
        cam = cam_function(images, None).cam[0, [0, 2]]
        cam = F.interpolate(cam[None] / cam.amax(dim=(1, 2), keepdim=True), (22, 18), mode='bilinear')[0]
        assert torch.equal(erased, (cam >= 0.5).any(dim=0)) and 0 < erased.float().mean() < 1
        torch.testing.assert_close(second[0][:, erased], colour[:, None].expand(3, int(erased.sum())))
        assert torch.equal(second[0][:, ~erased], first[0][:, ~erased])


def test_finished_images_leave_the_batch():
    images = make_images()
    recorder = Recorder()
    hook = IterativeErase(stop_area=0.05, max_rounds=6, normalize='round')
    together = hook(recorder, images, LABELS)
    apart = []
    for n in range(5):
        alone = Recorder()
        torch.testing.assert_close(together.cam[n:n + 1], hook(alone, images[n:n + 1], LABELS[n:n + 1]).cam)
        apart.append(len(alone.inputs))
    assert recorder.counts == [sum(rounds > i for rounds in apart) for i in range(max(apart))]
    assert len(set(apart)) > 2 and apart[1] == 1  # the image without class has nothing to look for


@pytest.mark.parametrize('erase', ['any', 'class'])
def test_no_image_goes_through_twice(erase):
    recorder = Recorder()
    IterativeErase(stop_area=0.0, max_rounds=8, erase=erase, threshold=0.8)(recorder, make_images(), LABELS)
    seen = torch.cat(recorder.inputs).flatten(1)
    assert len(seen) > 10 and len(torch.unique(seen, dim=0)) == len(seen)
    assert max(recorder.counts) <= 5  # also where every class has its own erased image


def test_class_by_class_equals_images_of_one_class():
    images = make_images(1)
    output = IterativeErase(erase='class')(cam_function, images, LABELS[:1])
    for k in (0, 2):
        single = IterativeErase()(cam_function, images, F.one_hot(torch.tensor([k]), 4).float())
        torch.testing.assert_close(output.cam[:, k], single.cam[:, k])
    assert not torch.allclose(output.cam, IterativeErase()(cam_function, images, LABELS[:1]).cam)


def test_without_labels_every_class_counts():
    images, recorder = make_images(2), Recorder()
    hook = IterativeErase(normalize='round')
    output = hook(recorder, images, None)
    torch.testing.assert_close(output.cam, hook(cam_function, images, torch.ones(2, 4)).cam)
    assert all(labels is None for labels in recorder.labels) and (output.cam.amax(dim=(2, 3)) == 1).all()


def test_labels_go_with_their_images():
    recorder = Recorder()
    IterativeErase(stop_area=0.0, erase='class')(recorder, make_images(), LABELS)
    assert len(recorder.labels) > 5
    whole = make_images()
    for inputs, labels in zip(recorder.inputs, recorder.labels):
        for image, label in zip(inputs, labels):
            owner = (image == whole).flatten(1).sum(dim=1).argmax()
            assert torch.equal(label, LABELS[owner])


@pytest.mark.parametrize('change', [dict(accumulate='sum'), dict(threshold=0.5), dict(stop_area=0.2),
                                    dict(max_rounds=2), dict(erase='class'), dict(fill='dataset_mean'),
                                    dict(normalize='round'), dict(min_strength=0.9)])
def test_every_switch_changes_the_maps(change):
    images, rest = make_images() + 0.5, dict(normalize='round') if 'min_strength' in change else {}
    default = IterativeErase(**rest)(cam_function, images, LABELS).cam
    assert not torch.allclose(IterativeErase(**rest, **change)(cam_function, images, LABELS).cam, default, atol=1e-3)


def test_mirror_images_of_this_hook_differ_from_those_of_the_one_inside_by_the_mask():
    images = make_images(1, (16, 24)) + 0.5
    inside, label = MultiScaleFlip((1.0,), stride=2), LABELS[:1]
    for rounds, same in ((1, True), (3, False)):
        mirrored = compose(cam_function, [IterativeErase(max_rounds=rounds), inside])(images, label).cam
        own = IterativeErase(max_rounds=rounds, mirror_mask=False)(cam_function, images, label).cam
        assert torch.allclose(mirrored, own, atol=1e-4) == same


def test_area_and_colour_can_be_those_of_a_larger_image():
    images, recorder = make_images(1), Recorder()
    hook = IterativeErase(stop_area=0.05)
    first = cam_function(images, None).cam
    hook.further_rounds(recorder, images, LABELS[:1], first, area=22 * 18 * 1000)
    assert recorder.inputs == []
    red = torch.tensor([5., 0, 0]).view(1, 3, 1, 1)
    hook.further_rounds(recorder, images, LABELS[:1], first, mean=red)
    assert (recorder.inputs[0] == red).all(dim=1).any()


def test_around_multi_scale_flip_the_views_show_the_erased_image():
    images, labels = make_images(2, (16, 24)), LABELS[[0, 2]]
    inner = MultiScaleFlip((1.0, 2.0), stride=2)
    recorder = Recorder()
    output = compose(recorder, [IterativeErase(max_rounds=3), inner])(images, labels)
    assert output.cam.shape == (2, 4, 8, 12)
    for views in recorder.inputs:
        straight, mirrored = views.chunk(2)
        assert torch.equal(straight, mirrored.flip(-1))
    # So the result mirrors with the image.
    mirrored = compose(cam_function, [IterativeErase(max_rounds=3), inner])(images.flip(-1), labels)
    torch.testing.assert_close(mirrored.cam.flip(-1), output.cam)


def test_inside_multi_scale_flip():
    images, labels = make_images(2, (16, 24)), LABELS[[0, 2]]
    output = compose(cam_function, [MultiScaleFlip((1.0,), stride=2), IterativeErase()])(images, labels)
    straight = IterativeErase()(cam_function, images, labels).cam
    mirrored = IterativeErase()(cam_function, images.flip(-1), labels).cam.flip(-1)
    torch.testing.assert_close(output.cam, straight + mirrored)


def test_autocast_and_memory_format():
    images = make_images().contiguous(memory_format=torch.channels_last)
    recorder = Recorder(lambda inputs, labels: CAMOutput(
        *(x.bfloat16() for x in (cam_function(inputs, labels).cam, cam_function(inputs, labels).logits))))
    with torch.autocast('cpu', dtype=torch.bfloat16), torch.no_grad():
        output = IterativeErase(normalize='round')(recorder, images, LABELS)
    assert output.cam.dtype == torch.float32 and output.cam.isfinite().all() and output.cam.max() == 1
    assert all(x.is_contiguous(memory_format=torch.channels_last) and x.dtype == torch.float32
               for x in recorder.inputs)


def test_one_pixel_and_no_activation():
    assert (IterativeErase()(cam_function, torch.zeros(1, 3, 1, 1), None).cam == 0).all()
    recorder = Recorder(lambda inputs, labels: CAMOutput(torch.zeros(len(inputs), 4, 3, 3), torch.zeros(5, 4)))
    assert (IterativeErase(stop_area=0)(recorder, make_images(), LABELS).cam == 0).all()
    assert recorder.counts == [5]


def test_functions():
    labels = torch.tensor([[0., 1, 0], [1, 0, 1]])
    assert torch.equal(present_classes(labels, torch.zeros(2, 3, 4, 4)), labels.bool())
    assert present_classes(None, torch.zeros(2, 3, 4, 4)).all()
    maps = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    area = active_area(maps, (4, 5), 0.8)
    for y, x in itertools.product(range(4), range(5)):
        assert bool(area[0, y, x]) == any(float(maps[k, y, x]) >= 0.8 for k in range(3))
    assert active_area(maps[:0], (6, 7), 0.1).shape == (1, 6, 7) and not active_area(maps[:0], (6, 7), 0.1).any()
    images = make_images(2)
    torch.testing.assert_close(mean_colour(images)[1, 2].item(), float(images[1, 2].double().mean()), rtol=1e-4,
                               atol=1e-6)


@pytest.mark.parametrize('kwargs', [
    dict(accumulate='mean'), dict(erase='all'), dict(fill='black'), dict(threshold=0), dict(stop_area=-0.1),
    dict(max_rounds=0), dict(normalize='image'), dict(min_strength=2.0), dict(min_strength=-1.0),
    dict(min_strength=0.1), dict(normalize='first', min_strength=0.1)])
def test_bad_options(kwargs):
    with pytest.raises(ValueError, match='IterativeErase'):
        IterativeErase(**kwargs)
