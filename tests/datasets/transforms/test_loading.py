import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets.transforms import LoadImage, LoadMask, LoadSaliency, read_saliency
from mmwsss.structures.label_file import write_label
from mmwsss.utils.errors import UserError

RNG = np.random.default_rng(0)


def noise(*shape, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def save(path, pixels, **options):
    """Writes RGB pixels (or a PIL image) without loss."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, 'PNG', **options)
    path.write_bytes(buffer.getvalue())
    return str(path)


def load(path, **results):
    results = LoadImage()({'img_path': str(path), **results})
    assert results['img'].dtype == np.uint8 and results['img'].ndim == 3 and results['img'].shape[2] == 3
    assert results['img_shape'] == results['ori_shape'] == results['img'].shape[:2]
    assert (results['height'], results['width']) == results['img_shape']
    return results['img']


def test_colour_is_bgr(tmp_path):
    rgb = noise(7, 9, 3)
    np.testing.assert_array_equal(load(save(tmp_path / 'a.png', rgb)), rgb[..., ::-1])


def test_grey_is_repeated(tmp_path):
    grey = noise(7, 9)
    np.testing.assert_array_equal(load(save(tmp_path / 'a.png', grey)), np.stack([grey] * 3, -1))


def test_alpha_is_dropped(tmp_path):
    rgba = noise(7, 9, 4)
    np.testing.assert_array_equal(load(save(tmp_path / 'a.png', rgba)), rgba[..., 2::-1])


def test_grey_with_alpha(tmp_path):
    values = noise(7, 9, 2)
    np.testing.assert_array_equal(load(save(tmp_path / 'a.png', Image.fromarray(values, 'LA'))),
                                  np.stack([values[..., 0]] * 3, -1))


def test_palette_gives_the_colours(tmp_path):
    image = Image.fromarray(noise(7, 9, 3)).quantize(16)
    np.testing.assert_array_equal(load(save(tmp_path / 'a.png', image)), np.array(image.convert('RGB'))[..., ::-1])


def test_black_and_white(tmp_path):
    values = noise(7, 9) > 127
    np.testing.assert_array_equal(load(save(tmp_path / 'a.png', Image.fromarray(values))),
                                  np.stack([values * np.uint8(255)] * 3, -1))


@pytest.mark.parametrize('extension', ['.png', '.tif'])
@pytest.mark.parametrize('shape', [(7, 9), (7, 9, 3)])
def test_16_bit_is_scaled_to_8(tmp_path, extension, shape):
    values = noise(*shape, dtype=np.uint16)
    path = tmp_path / f'a{extension}'
    path.write_bytes(cv2.imencode(extension, values)[1].tobytes())
    expected = values / 257
    expected = expected if values.ndim == 3 else np.stack([expected] * 3, -1)
    assert np.abs(load(path) - expected).max() <= 1


@pytest.mark.parametrize('fmt, extension', [('JPEG', '.jpg'), ('PNG', '.png'), ('WEBP', '.webp'), ('TIFF', '.tif')])
@pytest.mark.parametrize('orientation, turned', [
    (1, lambda x: x), (2, lambda x: x[:, ::-1]), (3, lambda x: x[::-1, ::-1]), (4, lambda x: x[::-1]),
    (5, lambda x: x.swapaxes(0, 1)), (6, lambda x: np.rot90(x, -1)), (8, np.rot90)])
def test_exif_rotation(tmp_path, fmt, extension, orientation, turned):
    rgb = cv2.resize(noise(3, 4, 3), (60, 40))  # smooth, since JPEG and WebP lose detail
    exif = Image.Exif()
    exif[0x112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, fmt, exif=exif, quality=95)
    path = tmp_path / f'a{extension}'
    path.write_bytes(buffer.getvalue())
    expected = turned(rgb)[..., ::-1].astype(int)
    loaded = load(path)
    assert loaded.shape == expected.shape
    assert np.abs(loaded - expected).mean() < 8  # any other rotation: above 40


@pytest.mark.parametrize('shape', [(1, 1, 3), (1, 9, 3), (9, 1, 3), (1, 1)])
def test_images_of_one_pixel_line_or_column(tmp_path, shape):
    pixels = noise(*shape)
    assert load(save(tmp_path / 'a.png', pixels)).shape == (*shape[:2], 3)


@pytest.mark.parametrize('name', ['Käse und Brot.png', '猫.png', "quote's %20 #1.png"])
def test_unusual_file_names(tmp_path, name):
    assert load(save(tmp_path / name, noise(3, 4, 3))).shape == (3, 4, 3)


def test_float32(tmp_path):
    rgb = noise(3, 4, 3)
    image = LoadImage(to_float32=True)({'img_path': save(tmp_path / 'a.png', rgb)})['img']
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, rgb[..., ::-1])


def test_listed_size_must_fit(tmp_path):
    path = save(tmp_path / 'a.png', noise(3, 4, 3))
    assert load(path, height=3, width=4).shape == (3, 4, 3)
    with pytest.raises(UserError, match=r'a\.png: is 3 x 4 \(height x width\) instead of 4 x 3; it has changed'):
        load(path, height=4, width=3)


@pytest.mark.parametrize('data', [None, b'', b'no image', b'\x89PNG\r\n\x1a\n'])
@pytest.mark.parametrize('transform, key', [
    (LoadImage(), 'img_path'), (LoadMask(), 'seg_map_path'), (LoadSaliency(), 'saliency_path')])
def test_unreadable_files_are_named_in_one_line(tmp_path, data, transform, key):
    path = tmp_path / 'a.png'
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError) as error:
        transform({'img_path': 'image.jpg', key: str(path)})
    assert str(error.value).startswith(f'{path}: ') and '\n' not in str(error.value)


@pytest.mark.parametrize('shape', [(3, 4), (1, 1), (5, 1)])
def test_load_mask(tmp_path, shape):
    mask = RNG.choice([0, 1, 7, 255], shape).astype(np.uint8)
    write_label(tmp_path / 'a.png', mask)
    results = LoadMask()({'img_path': 'a.jpg', 'seg_map_path': str(tmp_path / 'a.png'), 'img_shape': shape})
    np.testing.assert_array_equal(results['gt_seg_map'], mask)
    assert results['seg_fields'] == ['gt_seg_map']


@pytest.mark.parametrize('shape', [(3, 4), (1, 1), (5, 1)])
def test_load_saliency(tmp_path, shape):
    saliency = noise(*shape)
    results = LoadSaliency()({'img_path': 'a.jpg', 'saliency_path': save(tmp_path / 'a.png', saliency),
                              'img_shape': shape, 'seg_fields': ['gt_seg_map']})
    np.testing.assert_array_equal(results['gt_saliency'], saliency)
    assert results['gt_saliency'].dtype == np.uint8 and results['seg_fields'] == ['gt_seg_map', 'gt_saliency']


def test_black_and_white_saliency_is_0_and_255(tmp_path):
    values = noise(3, 4) > 127
    np.testing.assert_array_equal(read_saliency(save(tmp_path / 'a.png', Image.fromarray(values))), values * 255)


@pytest.mark.parametrize('image', [
    Image.new('RGB', (4, 3)), Image.new('P', (4, 3)), Image.new('I;16', (4, 3)), Image.new('LA', (4, 3))])
def test_saliency_must_be_8_bit_grey(tmp_path, image):
    path = save(tmp_path / 'a.png', image)
    with pytest.raises(UserError, match=r'a\.png: a saliency map must be an 8-bit grey image, not '):
        read_saliency(path)


@pytest.mark.parametrize('transform, key, option', [
    (LoadMask(), 'seg_map_path', 'require_masks=True'), (LoadSaliency(), 'saliency_path', 'require_saliency=True')])
def test_missing_or_misfitting_map(tmp_path, transform, key, option):
    with pytest.raises(UserError, match=rf'image\.jpg: has no .*{option}'):
        transform({'img_path': 'image.jpg', key: None})
    path = save(tmp_path / 'a.png', noise(3, 4))
    with pytest.raises(UserError, match=r'a\.png: is 3 x 4 \(height x width\), but the image image\.jpg is 6 x 8'):
        transform({'img_path': 'image.jpg', key: path, 'img_shape': (6, 8)})
