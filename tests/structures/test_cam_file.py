import errno
import io
import json
import math
import os
import time
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmwsss.structures import cam_file as module
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, read_cam, read_manifest, write_cam
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError


def random_cam(seed=0, size=(37, 50), stride=4, classes=(1, 5)):
    rng = np.random.default_rng(seed)
    grid = [math.ceil(n / stride) for n in size]
    return CAMFile(np.array(classes, np.int64), rng.random((len(classes), *grid)).astype(np.float16), size)


@pytest.mark.parametrize('classes', [(), (0,), (3, 1, 200)])
@pytest.mark.parametrize('size, stride', [((1, 1), 4), ((37, 50), 4), ((16, 16), 16), ((7, 300), 1), ((5, 9), 100)])
def test_round_trip(tmp_path, classes, size, stride):
    cam = random_cam(1, size, stride, classes)
    write_cam(tmp_path / 'a.npz', cam)
    back = read_cam(tmp_path / 'a.npz')
    assert back.size == size and all(type(n) is int for n in back.size)
    for key in ('classes', 'cam'):
        assert getattr(back, key).dtype == getattr(cam, key).dtype
        np.testing.assert_array_equal(getattr(back, key), getattr(cam, key))
    assert [p.name for p in tmp_path.iterdir()] == ['a.npz']


def test_keys_are_those_of_the_contract(tmp_path):
    write_cam(tmp_path / 'a.npz', random_cam())
    with np.load(tmp_path / 'a.npz', allow_pickle=False) as archive:
        found = {key: (archive[key].dtype, archive[key].ndim) for key in archive.files}
    assert found == dict(classes=(np.int64, 1), cam=(np.float16, 3), size=(np.int64, 1))


def test_same_content_gives_the_same_bytes(tmp_path, monkeypatch):
    cam = random_cam()
    write_cam(tmp_path / 'a.npz', cam)
    now, localtime = time.time() + 1e8, time.localtime(1)
    monkeypatch.setattr(time, 'time', lambda: now)
    monkeypatch.setattr(time, 'localtime', lambda *_: localtime)
    write_cam(tmp_path / 'b.npz', CAMFile(cam.classes.copy(), np.asfortranarray(cam.cam), cam.size))
    assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()
    with zipfile.ZipFile(tmp_path / 'a.npz') as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_stem_with_folders_and_dots(tmp_path):
    path = cam_path(tmp_path, 'video.1/frame.02')
    assert path == tmp_path / 'video.1' / 'frame.02.npz'
    write_cam(path, random_cam())
    assert read_cam(path).size == (37, 50)


@pytest.mark.parametrize('stem', ['', '/etc/x', '../x', 'a/../../x'])
def test_stem_that_leaves_the_folder(tmp_path, stem):
    with pytest.raises(UserError, match='not an image name'):
        cam_path(tmp_path, stem)


def corrupt(**changes):
    arrays = dict(classes=np.array([1, 5]), cam=np.full((2, 10, 13), .5, np.float16), size=np.array([37, 50]))
    arrays.update(changes)
    return {key: value for key, value in arrays.items() if value is not None}


@pytest.mark.parametrize('changes, message', [
    (dict(classes=None), r"holds \['cam', 'size'\]"),
    (dict(more=np.zeros(1)), 'more'),
    (dict(classes=np.array([1, 5], np.int32)), 'classes is int32'),
    (dict(classes=np.array([[1, 5]])), r'classes is int64 \[1, 2\]'),
    (dict(classes=np.array([5, 5])), 'distinct'),
    (dict(classes=np.array([-1, 5])), 'distinct'),
    (dict(classes=np.array([1])), r'instead of float16 \[1, h, w\]'),
    (dict(cam=np.zeros((2, 10, 13), np.float32)), 'cam is float32'),
    (dict(cam=np.zeros((2, 130), np.float16)), 'cam is float16'),
    (dict(cam=np.full((2, 10, 13), np.nan, np.float16)), 'not finite'),
    (dict(cam=np.full((2, 10, 13), -.5, np.float16)), r'not in \[0, 1\]'),
    (dict(cam=np.full((2, 10, 13), 1.001, np.float16)), r'not in \[0, 1\]'),
    (dict(cam=np.zeros((2, 10, 12), np.float16)), 'do not fit'),
    (dict(cam=np.zeros((2, 0, 0), np.float16)), 'do not fit'),
    (dict(cam=np.zeros((2, 74, 100), np.float16)), 'do not fit'),
    (dict(size=np.array([37, 50], np.int32)), 'size is int32'),
    (dict(size=np.array([37, 50, 3])), 'size is int64'),
    (dict(size=np.array([0, 50])), 'do not fit'),
    (dict(cam=np.array([[[None]]], object)), 'allow_pickle'),
])
def test_malformed_content(tmp_path, changes, message):
    path = tmp_path / 'bad.npz'
    np.savez(path, **corrupt(**changes))
    with pytest.raises(UserError, match=message) as error:
        read_cam(path)
    text = str(error.value)
    assert str(path) in text and 'delete it and run mmwsss cam again' in text and '\n' not in text


@pytest.mark.parametrize('data', [b'', b'PK', b'not an archive', b'PK\x05\x06' + bytes(18)])
def test_no_archive(tmp_path, data):
    path = tmp_path / 'bad.npz'
    path.write_bytes(data)
    with pytest.raises(UserError, match='delete it'):
        read_cam(path)


def test_npy_and_pickle_are_refused(tmp_path):
    for name, save in (('a.npz', lambda f: np.save(f, np.zeros(3))),
                       ('b.npz', lambda f: np.save(f, np.array([{}]), allow_pickle=True))):
        buffer = io.BytesIO()
        save(buffer)
        (tmp_path / name).write_bytes(buffer.getvalue())
        with pytest.raises(UserError, match='no npz archive'):
            read_cam(tmp_path / name)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r'a\.npz: no such CAM file'):
        read_cam(tmp_path / 'a.npz')
    (tmp_path / 'b.npz').mkdir()
    with pytest.raises(UserError, match=r'b\.npz: cannot be read'):
        read_cam(tmp_path / 'b.npz')


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / 'a.npz'
    write_cam(path, random_cam(size=(8, 8)))
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(UserError, match=r'a\.npz'):
            read_cam(path)


def test_flipped_bytes_are_refused_or_harmless(tmp_path):
    path = tmp_path / 'a.npz'
    cam = random_cam(size=(8, 8))
    write_cam(path, cam)
    data, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(400):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            back = read_cam(path)
        except UserError:
            refused += 1
        else:  # a byte that no reader looks at, e.g. a date
            np.testing.assert_array_equal(back.cam, cam.cam)
    assert refused > 200


@pytest.mark.parametrize('cam, message', [
    (CAMFile(np.array([1]), np.full((1, 4, 4), np.nan, np.float16), (16, 16)), 'not finite'),
    (CAMFile(np.array([1]), np.zeros((1, 4, 4), np.float32), (16, 16)), 'float32'),
    (CAMFile(np.array([1]), np.zeros((1, 4, 5), np.float16), (16, 16)), 'do not fit'),
])
def test_invalid_content_is_not_written(tmp_path, cam, message):
    with pytest.raises(UserError, match=message):
        write_cam(tmp_path / 'a.npz', cam)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_no_file(tmp_path, monkeypatch):
    real = os.write

    def write_bytes(self, data):
        # What a full disk does: the first bytes fit, then ENOSPC.
        descriptor = os.open(self, os.O_WRONLY | os.O_CREAT)
        real(descriptor, data[:100])
        os.close(descriptor)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr('pathlib.Path.write_bytes', write_bytes)
    with pytest.raises(OSError, match='No space left') as error:
        write_cam(tmp_path / 'a.npz', random_cam())
    assert error.value.errno == errno.ENOSPC and error.value.filename == str(tmp_path / 'a.npz')
    assert not list(tmp_path.iterdir())


def stride_exists(grid, size):
    return any(all(math.ceil(n / s) == m for m, n in zip(grid, size)) for s in range(1, max(size) + 1))


def test_integral_stride_against_trying_all():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(3000):
        size = rng.integers(1, 40, 2).tolist()
        stride = rng.integers(1, 12)
        grid = [max(0, math.ceil(n / stride) + int(rng.integers(-1, 2)) * int(rng.integers(2))) for n in size]
        expected = stride_exists(grid, size)
        assert module._has_integral_stride(grid, size) == expected, (grid, size)
        found += expected
    assert 500 < found < 2800


def bilinear(cam, size):
    """Bilinear resizing with half-pixel centres, in loops and float64."""
    out = np.zeros((len(cam), *size))
    for k, y, x in np.ndindex(*out.shape):
        value = 0.
        sy = max((y + .5) * cam.shape[1] / size[0] - .5, 0)
        sx = max((x + .5) * cam.shape[2] / size[1] - .5, 0)
        y0, x0 = int(sy), int(sx)
        for yy, wy in ((y0, 1 - sy + y0), (min(y0 + 1, cam.shape[1] - 1), sy - y0)):
            for xx, wx in ((x0, 1 - sx + x0), (min(x0 + 1, cam.shape[2] - 1), sx - x0)):
                value += wy * wx * float(cam[k, yy, xx])
        out[k, y, x] = value
    return out


@pytest.mark.parametrize('size', [(1, 1), (13, 9), (12, 17), (3, 4)])
def test_resize_cam(size):
    cam = np.random.default_rng(0).random((2, 3, 4)).astype(np.float16)
    array, tensor = resize_cam(cam, size), resize_cam(torch.from_numpy(cam), size)
    assert isinstance(array, np.ndarray) and array.dtype == np.float32 and array.shape == (2, *size)
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(array, tensor.numpy())
    np.testing.assert_allclose(array, bilinear(cam, size), atol=1e-6)
    expected = F.interpolate(torch.from_numpy(cam)[None].float(), size=size, mode='bilinear', align_corners=False)
    torch.testing.assert_close(tensor, expected[0], rtol=0, atol=0)


def test_resize_no_maps():
    assert resize_cam(np.zeros((0, 3, 4), np.float16), (12, 16)).shape == (0, 12, 16)
    assert resize_cam(torch.zeros((0, 3, 4)), (12, 16)).shape == (0, 12, 16)


def manifest(**changes):
    return CAMManifest(**dict(dict(checkpoint_sha256='ab', config_hash='cd', classes=['cat', 'dog'],
                                   extra=dict(scales=(.5, 1.), stride=4)), **changes))


def test_open_cam_dir(tmp_path):
    folder = tmp_path / 'new' / 'cams'
    assert not open_cam_dir(folder, manifest())
    assert read_manifest(folder) == manifest() and read_manifest(folder).classes == ('cat', 'dog')
    write_cam(cam_path(folder, 'a'), random_cam())
    before = (folder / 'manifest.json').read_bytes()
    assert open_cam_dir(folder, manifest())
    assert (folder / 'manifest.json').read_bytes() == before


def test_open_cam_dir_removes_what_killed_processes_left(tmp_path, leftover):
    gone = leftover(tmp_path / 'manifest.json')
    assert not open_cam_dir(tmp_path, manifest())
    assert not gone.exists()
    gone = [leftover(tmp_path / 'a.npz'), leftover(tmp_path / 'sub/b.npz')]
    stays = leftover(tmp_path / 'a.npz', alive=True)
    with pytest.raises(UserError, match='differ'):  # another's folder is not touched
        open_cam_dir(tmp_path, manifest(config_hash='ef'))
    assert all(path.exists() for path in gone)
    assert open_cam_dir(tmp_path, manifest())
    assert stays.exists() and not any(path.exists() for path in gone)


@pytest.mark.parametrize('changes, names', [
    (dict(checkpoint_sha256='xy'), 'checkpoint_sha256'), (dict(config_hash=None), 'config_hash'),
    (dict(classes=['dog', 'cat']), 'classes'), (dict(extra=dict(stride=4)), 'scales'),
    (dict(extra=dict(scales=[.5, 1.], stride=8)), 'stride')])
def test_open_cam_dir_of_something_else(tmp_path, changes, names):
    open_cam_dir(tmp_path, manifest())
    with pytest.raises(UserError, match=rf'\({names} differ\)'):
        open_cam_dir(tmp_path, manifest(**changes))
    assert read_manifest(tmp_path) == manifest()


def test_open_cam_dir_without_manifest(tmp_path):
    write_cam(tmp_path / 'sub' / 'a.npz', random_cam())
    with pytest.raises(UserError, match=r'no manifest\.json'):
        open_cam_dir(tmp_path, manifest())
    (tmp_path / 'file').write_text('x')
    for path in (tmp_path / 'file', tmp_path / 'file' / 'cams'):
        with pytest.raises(UserError, match='is not a folder'):
            open_cam_dir(path, manifest())


@pytest.mark.parametrize('text', ['{', '[]', '{}', '"x"', b'\xff\xfe', 'NaN', '[' * 100000])
def test_malformed_manifest(tmp_path, text):
    path = tmp_path / 'manifest.json'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r'manifest\.json: not ') as error:
        read_manifest(tmp_path)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('key, value', [('classes', 'cat'), ('classes', [1]), ('extra', None), ('config_hash', 1),
                                        ('format', 'other')])
def test_manifest_of_other_types(tmp_path, key, value):
    open_cam_dir(tmp_path, manifest())
    content = json.loads((tmp_path / 'manifest.json').read_text())
    (tmp_path / 'manifest.json').write_text(json.dumps(dict(content, **{key: value})))
    with pytest.raises(UserError, match='not a manifest'):
        read_manifest(tmp_path)


def test_missing_manifest(tmp_path):
    with pytest.raises(UserError, match='no folder of CAM files'):
        read_manifest(tmp_path)
