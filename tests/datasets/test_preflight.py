import io
import json
import os
import struct
import threading
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mmwsss.datasets.preflight as module
from mmwsss.datasets.preflight import check_files, check_mask, check_saliency, preflight
from mmwsss.structures.image_file import check_image, image_size, read_image
from mmwsss.structures.label_file import write_label
from mmwsss.utils.errors import UserError

RNG = np.random.default_rng(0)


def noise(height=40, width=60, dtype=np.uint8, channels=3):
    return RNG.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype=dtype).squeeze()


def pil_bytes(image, fmt, **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, fmt, **options)
    return buffer.getvalue()


def smooth_jpeg(**options):
    picture = cv2.resize(noise(4, 6), (600, 400), interpolation=cv2.INTER_CUBIC)
    return pil_bytes(picture, 'JPEG', **options)


@pytest.fixture
def put(tmp_path):
    def write(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)
    return write


@pytest.fixture
def decoded(monkeypatch):
    """Lists the paths that are decoded."""
    seen = []
    for kind, function in list(module.CHECKS.items()):
        monkeypatch.setitem(module.CHECKS, kind, lambda path, function=function: (seen.append(path), function(path))[1])
    return seen


@pytest.mark.parametrize('name, data, size', [
    ('a.jpg', smooth_jpeg(), (400, 600)),
    ('progressive.jpg', smooth_jpeg(progressive=True), (400, 600)),
    ('grey.jpg', pil_bytes(noise(channels=1), 'JPEG'), (40, 60)),
    ('cmyk.jpg', pil_bytes(Image.fromarray(noise()).convert('CMYK'), 'JPEG'), (40, 60)),
    ('rgba.png', pil_bytes(noise(channels=4), 'PNG'), (40, 60)),
    ('palette.png', pil_bytes(Image.fromarray(noise()).convert('P'), 'PNG'), (40, 60)),
    ('grey16.png', cv2.imencode('.png', noise(dtype=np.uint16, channels=1))[1].tobytes(), (40, 60)),
    ('colour16.png', cv2.imencode('.png', noise(dtype=np.uint16))[1].tobytes(), (40, 60)),
    ('colour16.tif', cv2.imencode('.tif', noise(dtype=np.uint16))[1].tobytes(), (40, 60)),
    ('pixel.png', pil_bytes(Image.new('RGB', (1, 1)), 'PNG'), (1, 1)),
    ('column.jpg', pil_bytes(Image.new('L', (1, 30)), 'JPEG'), (30, 1)),
    ('a.bmp', pil_bytes(noise(), 'BMP'), (40, 60)),
    ('a.webp', pil_bytes(noise(), 'WEBP'), (40, 60)),
    ('Käse.png', pil_bytes(noise(), 'PNG'), (40, 60)),
    ('wrong extension.png', smooth_jpeg(), (400, 600))])
def test_usable_images(put, name, data, size):
    check = check_image(put(name, data))
    assert (check.height, check.width, check.reason) == (*size, '')


@pytest.mark.parametrize('fmt', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_size_is_that_after_exif_rotation(put, fmt):
    exif = Image.Exif()
    exif[0x112] = 6  # rotate by 90 degrees
    check = check_image(put(f'a.{fmt.lower()}', pil_bytes(noise(40, 60), fmt, exif=exif)))
    assert (check.height, check.width) == (60, 40)


@pytest.mark.parametrize('fraction', [0.05, 0.5, 0.9, 0.98])
@pytest.mark.parametrize('data', [
    smooth_jpeg(), smooth_jpeg(progressive=True), pil_bytes(noise(), 'PNG'), pil_bytes(noise(), 'WEBP'),
    pil_bytes(noise(), 'BMP'), pil_bytes(noise(), 'TIFF')], ids=['jpeg', 'progressive', 'png', 'webp', 'bmp', 'tiff'])
def test_truncated_images(put, data, fraction, capfd):
    check = check_files([path := put('a', data[:int(len(data) * fraction)])], 'image')[path]
    assert check.height == 0 and check.reason.startswith('unreadable image') and '\n' not in check.reason
    assert capfd.readouterr().err == ''  # OpenCV's complaints are in the reason


def test_truncated_jpeg_that_the_decoder_of_training_takes_is_found(put, monkeypatch):
    # OpenCV before version 5 returns an image whose lower part is grey
    monkeypatch.setattr(cv2, 'imdecode', lambda *args: np.full((400, 600, 3), 128, np.uint8))
    data = smooth_jpeg()
    assert 'truncated' in check_image(put('a.jpg', data[:len(data) // 2])).reason
    assert check_image(put('b.jpg', data)).reason == ''


def bomb(height, width):
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(1000)))
            + chunk(b'IEND', b''))


@pytest.mark.parametrize('data, message', [
    (b'', 'empty file'), (b'hello world', 'unreadable image'), (bytes(1000), 'unreadable image'),
    (bomb(60000, 60000), 'decompression bomb'), (bomb(40, 60), 'unreadable image'),
    (b'\xff\xd8\xff\xe0' + bytes(50), 'unreadable image')])
def test_other_unusable_images(put, data, message):
    check = check_image(put('a.png', data))
    assert message in check.reason and check.height == 0 and '\n' not in check.reason


def test_missing_file(tmp_path, decoded):
    path = str(tmp_path / 'a.png')
    for _ in range(2):  # a file that cannot be read is tried again, since its bytes were not seen
        assert 'No such file' in check_files([path], 'image')[path].reason
    assert len(decoded) == 2


def test_mask_gives_size_and_ids(tmp_path):
    mask = RNG.choice([0, 2, 7, 255], (5, 9)).astype(np.uint8)
    write_label(tmp_path / 'a.png', mask)
    check = check_mask(str(tmp_path / 'a.png'))
    assert (check.height, check.width, check.ids, check.reason) == (5, 9, (0, 2, 7, 255), '')


@pytest.mark.parametrize('data', [
    pil_bytes(noise(), 'PNG'), pil_bytes(noise(channels=4), 'PNG'), pil_bytes(noise(channels=1), 'PNG')[:60], b'', b'x',
    cv2.imencode('.png', noise(dtype=np.uint16, channels=1))[1].tobytes(), bomb(60000, 60000)])
@pytest.mark.parametrize('check', [check_mask, check_saliency])
def test_unusable_maps(put, data, check):
    path = put('a.png', data)
    result = check(path)
    assert result.height == 0 and result.reason and path not in result.reason and '\n' not in result.reason


def test_saliency_gives_size_and_largest_value(put):
    values = noise(5, 9, channels=1)
    check = check_saliency(put('a.png', pil_bytes(values, 'PNG')))
    assert (check.height, check.width, check.ids, check.reason) == (5, 9, (int(values.max()),), '')


def test_saliency_of_zeros_and_ones_is_refused(put):
    """Of all maps: a single one may well be dark."""
    images = [put(f'{name}.jpg', pil_bytes(noise(4, 4), 'JPEG')) for name in 'ab']
    ones = put('a.png', pil_bytes(noise(4, 4, channels=1) % 2, 'PNG'))
    more = put('b.png', pil_bytes(noise(4, 4, channels=1) % 2 * 200, 'PNG'))
    assert preflight(images, saliency_paths=[ones, more], num_classes=1) == [(4, 4), (4, 4)]
    with pytest.raises(UserError, match=r'a\.png: the saliency maps hold 0 and 1 only'):
        preflight(images[:1], saliency_paths=[ones])


def test_preflight(put, tmp_path):
    good = put('good.jpg', pil_bytes(noise(6, 9), 'JPEG'))
    broken = put('broken.jpg', b'x')
    masks = {'right': np.zeros((6, 9)), 'small': np.ones((6, 8)), 'other ids': np.full((6, 9), 4),
             'ignored': np.full((6, 9), 255)}
    for name, mask in masks.items():
        write_label(tmp_path / f'{name}.png', mask.astype(np.uint8))
    paths = {name: str(tmp_path / f'{name}.png') for name in masks}
    mask_paths = [paths['right'], paths['right'], paths['small'], paths['other ids'], paths['ignored'], None]
    images = [good, broken, good, good, good, good]
    assert preflight(images) == [(6, 9), 'unreadable image', *[(6, 9)] * 4]
    result = preflight(images, mask_paths, num_classes=3)
    assert result[0] == (6, 9) and result[4] == (6, 9)
    assert result[1] == 'unreadable image' and result[5] == 'missing mask'
    assert result[2] == f'mask {paths["small"]}: is 6 x 8 (height x width), but the image is 6 x 9'
    assert result[3] == f'mask {paths["other ids"]}: has the id 4, but there are 3 foreground classes'
    assert preflight(images, mask_paths, num_classes=4)[3] == (6, 9)
    saliency = put('saliency.png', pil_bytes(noise(6, 9, channels=1), 'PNG'))
    assert preflight([good] * 3, None, [saliency, None, good], 3)[:2] == [(6, 9), 'missing saliency map']
    assert preflight([good], None, [good])[0].startswith(f'saliency map {good}: ')


def test_cache_decodes_only_what_changed(put, decoded):
    paths = [put(f'{i}.png', pil_bytes(noise(5 + i, 9), 'PNG')) for i in range(3)] + [put('bad.png', b'bad')]
    first = check_files(paths, 'image')
    assert sorted(decoded) == sorted(paths)
    assert check_files(list(reversed(paths)), 'image') == first and len(decoded) == 4
    put('1.png', pil_bytes(noise(50, 9), 'PNG'))
    put('bad.png', pil_bytes(noise(7, 7), 'PNG'))
    changed = check_files(paths, 'image')
    assert sorted(decoded[4:]) == sorted([paths[1], paths[3]])
    assert changed[paths[1]].height == 50 and changed[paths[3]].reason == '' and changed[paths[0]] == first[paths[0]]
    # same size, only the time differs
    os.utime(paths[2], ns=(1, 1))
    check_files(paths, 'image')
    assert decoded[6:] == [paths[2]]
    assert not any(name.startswith('.') for name in os.listdir(os.environ['MMWSSS_CACHE']))


def test_relative_paths_share_the_cache_only_with_the_same_file(put, decoded, tmp_path, monkeypatch):
    put('a.png', pil_bytes(noise(5, 9), 'PNG'))
    monkeypatch.chdir(tmp_path)
    assert check_files(['a.png'], 'image')['a.png'].height == 5
    check_files([str(tmp_path / 'a.png')], 'image')
    assert len(decoded) == 1
    (tmp_path / 'sub').mkdir()
    monkeypatch.chdir(tmp_path / 'sub')
    assert check_files(['a.png'], 'image')['a.png'].reason


def test_kinds_have_caches_of_their_own(put):
    path = put('a.png', pil_bytes(noise(5, 9), 'PNG'))
    assert check_files([path], 'image')[path].reason == ''
    assert check_files([path], 'mask')[path].reason != ''


@pytest.mark.parametrize('damage', [
    lambda content: b'', lambda content: content[:-20], lambda content: b'[]', lambda content: b'\xff\xfe',
    lambda content: b'{"format": "other", "files": {}}',
    lambda content: json.dumps({**json.loads(content), 'files': {'a': 3}}).encode(),
    lambda content: json.dumps({**json.loads(content), 'format': 'older'}).encode()])
def test_damaged_cache_is_ignored_and_mended(put, decoded, damage):
    path = put('a.png', pil_bytes(noise(5, 9), 'PNG'))
    check_files([path], 'image')
    cache, = os.scandir(os.environ['MMWSSS_CACHE'])
    Path(cache.path).write_bytes(damage(Path(cache.path).read_bytes()))
    assert check_files([path], 'image')[path].height == 5
    assert len(decoded) == 2
    check_files([path], 'image')
    assert len(decoded) == 2


def test_folder_that_cannot_be_written_is_reported_once(put, decoded, monkeypatch):
    path = put('a.png', pil_bytes(noise(5, 9), 'PNG'))
    monkeypatch.setenv('MMWSSS_CACHE', path + '/below a file')
    messages = []
    monkeypatch.setattr('mmwsss.datasets.file_cache.print_log',
                        lambda message, *args, **kwargs: messages.append(message))
    for _ in range(2):
        assert check_files([path], 'image')[path].height == 5
    assert len(decoded) == 2
    message, = messages
    assert 'below a file: cannot be written' in message and 'MMWSSS_CACHE' in message


def test_files_are_decoded_at_the_same_time(put, monkeypatch):
    paths = [put(f'{i}.png', pil_bytes(noise(5, 9), 'PNG')) for i in range(4)]
    together = threading.Barrier(2, timeout=10)  # breaks unless two threads come here

    def check(path):
        together.wait()
        return check_image(path)
    monkeypatch.setitem(module.CHECKS, 'image', check)
    assert [check.height for check in check_files(paths, 'image').values()] == [5] * 4


def test_error_of_ours_ends_the_run_without_decoding_the_rest(put, monkeypatch):
    paths = [put(f'{i}.png', b'x') for i in range(500)]
    seen = []

    def check(path):
        seen.append(path)
        time.sleep(0.01)
        raise KeyboardInterrupt
    monkeypatch.setitem(module.CHECKS, 'image', check)
    with pytest.raises(KeyboardInterrupt):
        check_files(paths, 'image')
    assert len(seen) < 250


def test_progress_only_on_a_terminal(put, capfd, monkeypatch):
    monkeypatch.delenv('FORCE_COLOR', raising=False)
    path = put('a.png', pil_bytes(noise(5, 9), 'PNG'))
    check_files([path], 'image')
    assert capfd.readouterr() == ('', '')
    monkeypatch.setenv('FORCE_COLOR', '1')  # makes rich believe in a terminal
    path = put('b.png', pil_bytes(noise(5, 9), 'PNG'))
    check_files([path], 'image')
    assert 'checking every image' in capfd.readouterr().err


def test_nothing_to_check():
    assert preflight([]) == []
    assert preflight([], [], [], 3) == []


def test_image_that_only_opencv_refuses_is_left_out_in_silence(put, capfd):
    path = put('float.tif', cv2.imencode('.tif', np.random.default_rng(0).random((9, 7, 3), np.float32))[1].tobytes())
    assert cv2.imread(path) is None and 'OpenCV' in capfd.readouterr().err
    assert check_files([path], 'image')[path].reason.startswith('unreadable image')
    assert capfd.readouterr().err == ''


def test_photograph_turned_by_its_exif_tag_whose_mask_is_not(put, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph = put('a.jpg', pil_bytes(noise(20, 30), 'JPEG', exif=exif))  # 30 x 20 when it is turned
    for name, size in (('stored.png', (20, 30)), ('turned.png', (30, 20)), ('other.png', (20, 31))):
        write_label(tmp_path / name, np.ones(size, np.uint8))
    assert check_image(photograph).turned and not check_image(put('b.jpg', smooth_jpeg())).turned
    for _ in range(2):  # the second time from the cache
        results = [preflight([photograph], [str(tmp_path / name)])[0]
                   for name in ('stored.png', 'turned.png', 'other.png')]
        assert results[1] == (30, 20)
        assert 'is 20 x 30 (height x width), but the image is 30 x 20 when it is turned as its EXIF' in results[0]
        assert 'EXIF' not in results[2] and 'but the image is 30 x 20' in results[2]


@pytest.mark.parametrize('orientation', range(1, 9))
def test_size_from_the_header_is_that_of_the_pixels(put, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = put('a.jpg', pil_bytes(noise(20, 30), 'JPEG', exif=exif))
    assert image_size(path) == read_image(path).shape[:2]


def test_size_of_what_is_no_image(put):
    with pytest.raises(UserError, match=r'a\.jpg: unreadable image'):
        image_size(put('a.jpg', b'no image'))
