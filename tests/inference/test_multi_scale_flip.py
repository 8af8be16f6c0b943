import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from PIL import Image

from mmwsss.inference import MultiScaleFlip, compose
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.structures import CAMOutput

KERNEL = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))


def cam_function(inputs, labels):
    """A small network that is not symmetric under mirroring."""
    maps = F.conv2d(inputs, KERNEL, stride=2, padding=1)
    return CAMOutput(cam=maps.relu(), logits=maps.mean(dim=(2, 3)), feats={'0': maps})


@pytest.mark.parametrize('reduce', ['sum', 'max'])
@pytest.mark.parametrize('flip', [True, False])
def test_equals_one_view_of_one_image_at_a_time(reduce, flip):
    images = torch.randn(3, 3, 22, 17, generator=torch.Generator().manual_seed(1))
    scales = (0.5, 1.0, 2.0)
    output = MultiScaleFlip(scales, flip=flip, stride=4, reduce=reduce)(cam_function, images, None)
    assert output.cam.shape == (3, 4, 6, 5)
    assert output.feats == {}
    for n in range(3):
        cams, logits = [], []
        for scale in scales:
            size = (round(22 * scale), round(17 * scale))
            view = images[n:n + 1]
            if scale != 1:
                view = F.interpolate(view, size, mode='bilinear', antialias=scale < 1)
            pair = []
            for mirrored in (False, True)[:1 + flip]:
                result = cam_function(view.flip(3) if mirrored else view, None)
                pair.append(result.cam.flip(3) if mirrored else result.cam)
                logits.append(result.logits)
            # Mirror images share their grid, so they are combined before the resizing.
            both = sum(pair) if reduce == 'sum' else torch.stack(pair).amax(dim=0)
            cams.append(F.interpolate(both, (6, 5), mode='bilinear'))
        expected = sum(cams) if reduce == 'sum' else torch.stack(cams).amax(dim=0)
        torch.testing.assert_close(output.cam[n:n + 1], expected)
        torch.testing.assert_close(output.logits[n:n + 1], torch.stack(logits).mean(dim=0))


def test_result_mirrors_with_the_image():
    # Only when sampling grids mirror exactly: even sizes.
    images = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(2))
    hook = MultiScaleFlip((1.0, 2.0), stride=2)
    straight = hook(cam_function, images, None).cam
    mirrored = hook(cam_function, images.flip(-1), None).cam
    torch.testing.assert_close(mirrored.flip(-1), straight)


def test_labels_reach_the_views_in_the_images_order():
    seen = []

    def recorder(inputs, labels):
        seen.append(labels)
        return cam_function(inputs, labels)

    labels = torch.tensor([[1., 0, 0, 0], [0, 1, 1, 0]])
    MultiScaleFlip((1.0, 0.5))(recorder, torch.zeros(2, 3, 8, 8), labels)
    for given in seen:
        torch.testing.assert_close(given, torch.cat([labels, labels]))


def test_one_pixel():
    assert MultiScaleFlip()(cam_function, torch.zeros(1, 3, 1, 1), None).cam.shape == (1, 4, 1, 1)


@pytest.mark.parametrize('kwargs', [dict(scales=()), dict(scales=(0.0,)), dict(reduce='mean'),
                                    dict(interpolation='nearest')])
def test_bad_options(kwargs):
    with pytest.raises(ValueError, match='MultiScaleFlip'):
        MultiScaleFlip(**kwargs)


def test_compose_puts_the_first_hook_outermost():
    calls = []

    def hook(name):
        def call(function, inputs, labels):
            calls.append(name)
            return function(inputs, labels)
        return call

    innermost = dict(type='MultiScaleFlip', scales=(1.0,), flip=False)
    composed = compose(cam_function, [hook('outer'), hook('inner'), innermost])
    images = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(composed(images, None).logits, cam_function(images, None).logits)
    assert calls == ['outer', 'inner']
    assert compose(cam_function, []) is cam_function


def bicubic_view(scale, values):
    """An image that is nothing but edges, and its view with known limits and without, in 0 to 255."""
    preprocessor = WSSSDataPreProcessor(mean=[120.0, 110, 100], std=[60.0, 55, 50], bgr_to_rgb=True)
    pixels = np.random.default_rng(0).choice(values, (14, 18, 3)).astype(np.uint8)
    inputs = preprocessor({'inputs': [torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1)],
                           'data_samples': [SegDataSample()]}, training=False)['inputs']
    seen = []

    def recorder(view, labels):
        seen.append((view * preprocessor.std + preprocessor.mean)[0].permute(1, 2, 0).numpy())
        return cam_function(view, labels)

    hook = MultiScaleFlip((scale,), flip=False, interpolation='bicubic')
    hook(recorder, inputs, None)
    hook.bind(preprocessor)
    hook(recorder, inputs, None)
    return pixels, seen[1], seen[0]


@pytest.mark.parametrize('scale', [0.5, 1.5, 2.0])
def test_bicubic_views_are_those_of_pil(scale):
    pixels, found, _ = bicubic_view(scale, (80, 120, 175))
    expected = np.asarray(Image.fromarray(pixels).resize((round(scale * 18), round(scale * 14)),
                                                         Image.Resampling.BICUBIC)).astype(np.float64)
    assert np.abs(found - expected).max() < 1.5  # PIL rounds after either direction


def test_bicubic_views_have_no_values_that_images_have_not():
    _, found, free = bicubic_view(2.0, (0, 60, 255))
    assert free.min() < -20 and free.max() > 275
    np.testing.assert_allclose(found, free.clip(0, 255), atol=1e-3)
