from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_onnx import write_saliency_onnx

from mmwsss.saliency.onnx_saliency import OnnxSaliency, normalize_input, to_saliency
from mmwsss.utils.errors import UserError

SHARED = Path(__file__).parents[2] / '../shared'
U2NETP, VOC8 = SHARED / 'weights/u2netp.onnx', SHARED / 'data/voc8'
WEIGHT, BIAS = [0.5, -0.25, 0.125], 0.75


def random_images(n, size, seed=0):
    return np.random.default_rng(seed).integers(0, 200, (n, size, size, 3)).astype(np.uint8)


def normalized_pixel(image, y, x):
    """The definition, in float64."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return [(float(image[y, x, c]) / float(image.max()) - mean[c]) / std[c] for c in range(3)]


def test_input_equals_the_definition():
    images = random_images(3, 5)
    images[1] //= 7  # a dark one is brought to the full range on its own
    inputs = normalize_input(images)
    assert inputs.dtype == np.float32 and inputs.shape == (3, 3, 5, 5) and inputs.flags.c_contiguous
    for n in range(3):
        for y in range(5):
            for x in range(5):
                np.testing.assert_allclose(inputs[n, :, y, x], normalized_pixel(images[n], y, x), atol=1e-5)


def test_input_of_a_black_image_is_finite():
    inputs = normalize_input(np.zeros((1, 2, 2, 3), np.uint8))
    np.testing.assert_allclose(inputs[0, :, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)


@pytest.mark.parametrize('size', [(8, 8), (13, 21), (3, 40), (1, 1)])
def test_saliency_is_stretched_and_resized(size):
    output = np.random.default_rng(1).normal(3, 2, (8, 8)).astype(np.float32)
    saliency = to_saliency(output, size)
    assert saliency.dtype == np.uint8 and saliency.shape == size
    unit = (output.astype(np.float64) - output.min()) / (output.max() - output.min())
    expected = 255 * cv2.resize(unit, size[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(saliency - expected).max() <= 0.5 + 1e-3
    if size == (8, 8):
        assert (saliency.min(), saliency.max()) == (0, 255)


def test_constant_output_is_nowhere_salient():
    assert not to_saliency(np.full((4, 4), 0.7, np.float32), (6, 5)).any()


@pytest.mark.parametrize('n', [1, 2, 3, 5])
def test_first_output_of_every_image(tmp_path, n):
    path = write_saliency_onnx(tmp_path / 'm.onnx', [WEIGHT], BIAS, size=6)
    images = random_images(n, 6)
    network = OnnxSaliency(path, 6, batch_size=3)
    assert network.batch_size == 3
    outputs = network(images)
    assert outputs.shape == (n, 6, 6) and outputs.dtype == np.float32
    expected = [[[np.dot(WEIGHT, normalized_pixel(image, y, x)) + BIAS for x in range(6)] for y in range(6)]
                for image in images]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(OnnxSaliency(path, 6)(images), outputs, atol=1e-6)


def test_a_model_of_one_image_at_a_time(tmp_path):
    images = random_images(3, 6)
    free = OnnxSaliency(write_saliency_onnx(tmp_path / 'free.onnx', [WEIGHT], BIAS, size=6), 6, batch_size=4)
    fixed = OnnxSaliency(write_saliency_onnx(tmp_path / 'm.onnx', [WEIGHT], BIAS, 6, fixed_batch=True), 6, batch_size=4)
    assert (free.batch_size, fixed.batch_size) == (4, 1)
    np.testing.assert_allclose(fixed(images), free(images), atol=1e-6)


def test_a_batch_that_gives_other_maps_is_not_used(tmp_path, monkeypatch):
    run = OnnxSaliency._run
    # Right shapes, wrong values: every image of a batch gets the map of the first.
    monkeypatch.setattr(OnnxSaliency, '_run', lambda self, x: np.repeat(run(self, x[:1]), len(x), axis=0))
    path = write_saliency_onnx(tmp_path / 'm.onnx', [WEIGHT], BIAS, size=6)
    assert OnnxSaliency(path, 6, batch_size=4).batch_size == 1


def error_of(*args):
    with pytest.raises(UserError) as caught:
        OnnxSaliency(*args)
    message = str(caught.value)
    assert '\n' not in message and str(args[0]) in message
    for source in ('u2net.onnx', 'u2netp.onnx', 'github.com/xuebinqin/U-2-Net', 'danielgatis/rembg/releases'):
        assert source in message
    return message


def test_missing_file(tmp_path):
    assert 'no such model file' in error_of(tmp_path / 'u2net.onnx')


@pytest.mark.parametrize('content', [b'', b'<!DOCTYPE html>', b'\x08\x07', bytes(range(256)) * 9])
def test_not_an_onnx_file(tmp_path, content, capfd):
    path = tmp_path / 'm.onnx'
    path.write_bytes(content)
    error_of(path)
    assert capfd.readouterr() == ('', '')


def test_truncated_file(tmp_path):
    path = write_saliency_onnx(tmp_path / 'm.onnx', [WEIGHT], size=6)
    path.write_bytes(path.read_bytes()[:-50])
    error_of(path, 6)


def test_not_a_saliency_model(tmp_path):
    path = write_saliency_onnx(tmp_path / 'm.onnx', [WEIGHT, WEIGHT], size=6)
    assert ('is no saliency model: its first output is 1 x 2 x 6 x 6 for an input of 1 x 3 x 6 x 6, instead of '
            '1 x 1 x 6 x 6') in error_of(path, 6)


def test_a_size_that_the_model_does_not_take(tmp_path, capfd):
    path = write_saliency_onnx(tmp_path / 'm.onnx', [WEIGHT], size=6, fixed_batch=True)
    assert '--size' in error_of(path, 8)
    assert capfd.readouterr() == ('', '')


@pytest.mark.skipif(not (U2NETP.is_file() and VOC8.is_dir()), reason='needs ../shared/weights and ../shared/data/voc8')
def test_photographs_get_nearly_the_maps_of_the_large_network():
    stems = ['2007_000392', '2010_000562']  # the two networks differ in what they find salient on some others
    pictures = [Image.open(VOC8 / f'JPEGImages/{stem}.jpg').convert('RGB') for stem in stems]
    images = np.stack([np.asarray(picture.resize((320, 320), Image.Resampling.BILINEAR)) for picture in pictures])
    network = OnnxSaliency(U2NETP, 320, batch_size=2)
    assert network.batch_size == 2
    for stem, picture, output in zip(stems, pictures, network(images)):
        saliency = to_saliency(output, picture.size[::-1])
        large = np.asarray(Image.open(VOC8 / f'Saliency/{stem}.png'))
        assert np.corrcoef(saliency.ravel(), large.ravel())[0, 1] > 0.9  # 0.95 and 0.99
