import errno
import json
import os
import time

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_onnx import write_saliency_onnx

from mmwsss.datasets import DataFolder
from mmwsss.datasets.transforms import read_saliency
from mmwsss.saliency import saliency_maps as module
from mmwsss.saliency.saliency_maps import make_saliency
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import sha256_of_file

SIZE = 16
WEIGHT, BIAS = [0.5, 0.75, 0.125], 3.
SIZES = {'a': (30, 41), 'b.c': (24, 24), 'c': (1, 1), 'd': (17, 9), 'e': (33, 20)}


def photograph(rng, size):
    return cv2.GaussianBlur(rng.integers(0, 256, (*size, 3)).astype(np.uint8), (0, 0), 2).reshape(*size, 3)


class Data:
    """A folder in VOC layout and a model."""

    def __init__(self, root):
        self.root, self.out = root / 'data', root / 'data/Saliency'
        rng = np.random.default_rng(0)
        (self.root / 'JPEGImages').mkdir(parents=True)
        (self.root / 'ImageSets').mkdir()
        (self.root / 'ImageSets/train.txt').write_text('\n'.join(SIZES))
        for stem, size in SIZES.items():
            Image.fromarray(photograph(rng, size)).save(self.image(stem), quality=95)
        self.model = write_saliency_onnx(root / 'm.onnx', [WEIGHT], BIAS, SIZE)

    def image(self, stem):
        return self.root / f'JPEGImages/{stem}.jpg'

    def make(self, out=None, model=None, img_dir=None, **options):
        options = {'size': SIZE, 'num_workers': 0, **options}
        return make_saliency(model or self.model, DataFolder.find(self.root, img_dir=img_dir), 'train', out, **options)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path)


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(module, 'OnnxSaliency', lambda *args: pytest.fail('the model was loaded'))


def expected_map(image):
    """The definition in float64, with OpenCV's resize in place of torch's."""
    height, width = image.shape[:2]
    small = np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR)).astype(np.float64)
    normal = (small / small.max() - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    output = normal @ WEIGHT + BIAS
    if np.ptp(output) == 0:
        return np.zeros((height, width))
    return 255 * cv2.resize((output - output.min()) / np.ptp(output), (width, height))


def test_maps_equal_the_definition(data):
    assert data.make() == {'num_images': 5, 'made': 5, 'kept': 0, 'skipped': []}
    for stem, size in SIZES.items():
        with Image.open(data.out / f'{stem}.png') as image:
            assert image.mode == 'L'
        saliency = read_saliency(data.out / f'{stem}.png')
        assert saliency.shape == size
        image = np.asarray(Image.open(data.image(stem)))
        assert np.abs(saliency - expected_map(image)).max() <= 0.51
    assert sorted(files(data.out)) == sorted([*(f'{stem}.png' for stem in SIZES), 'manifest.json'])


def test_manifest_says_how_the_maps_were_made(data, tmp_path):
    data.make(tmp_path / 'maps')
    assert json.loads((tmp_path / 'maps/manifest.json').read_text()) == {
        'format': 'mmwsss saliency folder 1', 'model_sha256': sha256_of_file(data.model), 'size': SIZE}
    assert not data.out.exists()


def test_same_bytes_for_any_number_of_workers_and_batch_size(data, tmp_path):
    results = {}
    for workers, batch in ((0, 1), (2, 1), (0, 2), (1, 3), (2, 50)):
        results[workers, batch] = data.make(tmp_path / f'{workers}-{batch}', num_workers=workers, batch_size=batch)
        assert files(tmp_path / f'{workers}-{batch}') == files(tmp_path / '0-1')
    assert all(result == results[0, 1] for result in results.values())


def test_one_image_at_a_time_is_said(data, tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr(module, 'print_log', lambda message, *args, **kwargs: messages.append(message))
    data.make(tmp_path / 'batched')
    assert not messages
    fixed = write_saliency_onnx(tmp_path / 'fixed.onnx', [WEIGHT], BIAS, SIZE, fixed_batch=True)
    assert data.make(model=fixed)['made'] == 5
    assert messages == [f'{fixed}: takes one image at a time, so the batch size is 1']
    assert all((data.out / f'{stem}.png').read_bytes() == (tmp_path / f'batched/{stem}.png').read_bytes()
               for stem in SIZES)


def test_resume_gives_the_same(data, tmp_path, leftover):
    data.make(tmp_path / 'whole')
    data.make()
    kept = data.out / 'a.png'
    before = kept.stat().st_mtime_ns
    (data.out / 'd.png').unlink()
    leftover(data.out / 'd.png')
    summary = data.make(batch_size=2)
    assert (summary['made'], summary['kept'], summary['num_images']) == (1, 4, 5)
    assert kept.stat().st_mtime_ns == before
    assert files(data.out) == files(tmp_path / 'whole')


def test_nothing_to_do_needs_no_network(data, no_network):
    data.out.mkdir()
    for stem in SIZES:
        Image.new('L', (4, 3)).save(data.out / f'{stem}.png')
    (data.out / 'manifest.json').write_text(json.dumps(
        {'format': 'mmwsss saliency folder 1', 'model_sha256': sha256_of_file(data.model), 'size': SIZE}))
    assert data.make() == {'num_images': 5, 'made': 0, 'kept': 5, 'skipped': []}


def test_interrupted_and_started_again(data, tmp_path, monkeypatch):
    data.make(tmp_path / 'whole')
    write, written = module.write_bytes, []

    def interrupted(path, content):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, content)

    monkeypatch.setattr(module, 'write_bytes', interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.make(batch_size=2)
    assert sorted(files(data.out)) == ['a.png', 'b.c.png', 'c.png', 'manifest.json']
    monkeypatch.setattr(module, 'write_bytes', write)
    summary = data.make(batch_size=2)
    assert (summary['made'], summary['kept']) == (2, 3)
    assert files(data.out) == files(tmp_path / 'whole')


def test_damaged_map_is_made_again(data, tmp_path):
    data.make(tmp_path / 'whole')
    data.make()
    path = data.out / 'b.c.png'
    path.write_bytes(path.read_bytes()[:30])
    assert (data.make()['made'], data.make()['made']) == (1, 0)
    assert files(data.out) == files(tmp_path / 'whole')


def test_map_older_than_its_image_is_made_again(data):
    data.make()
    later = time.time_ns() + 10**9
    Image.new('RGB', (5, 4)).save(data.image('d'))
    os.utime(data.image('d'), ns=(later, later))
    summary = data.make()
    assert (summary['made'], summary['kept']) == (1, 4)
    assert read_saliency(data.out / 'd.png').shape == (4, 5)


def test_another_model_or_size_does_not_mix(data, tmp_path, no_network):
    data.out.mkdir()
    (data.out / 'a.png').write_bytes(b'a map')
    (data.out / 'manifest.json').write_text(json.dumps(
        {'format': 'mmwsss saliency folder 1', 'model_sha256': sha256_of_file(data.model), 'size': SIZE}))
    before = files(data.out)
    other = write_saliency_onnx(tmp_path / 'other.onnx', [WEIGHT], BIAS + 1, SIZE)
    for options, named in (({'model': other}, 'model_sha256'), ({'size': 8}, 'size')):
        with pytest.raises(UserError, match=rf'manifest\.json.*\({named}\).*--out-dir'):
            data.make(**options)
    assert files(data.out) == before


def test_maps_of_unknown_origin_are_not_touched(data, no_network):
    data.out.mkdir()
    (data.out / 'a.png').write_bytes(b'made elsewhere')
    with pytest.raises(UserError, match=r'Saliency: has files but no manifest\.json.*--out-dir'):
        data.make()
    assert files(data.out) == {'a.png': b'made elsewhere'}


@pytest.mark.parametrize('content', ['[1', '[1]', ''])
def test_damaged_manifest(data, no_network, content):
    data.out.mkdir()
    (data.out / 'a.png').write_bytes(b'')
    (data.out / 'manifest.json').write_text(content)
    with pytest.raises(UserError, match=r'manifest\.json: cannot be read.*--out-dir'):
        data.make()


def test_folder_of_another_stage_is_not_used(data, no_network):
    data.out.mkdir()
    (data.out / 'a.npz').write_bytes(b'')
    (data.out / 'manifest.json').write_text('{"format": "mmwsss CAM folder 1"}')
    with pytest.raises(UserError, match=r'manifest\.json.*\(format, model_sha256, size\)'):
        data.make()


def test_manifest_without_maps_does_not_bind(data):
    data.out.mkdir()
    (data.out / 'manifest.json').write_text('{"format": "mmwsss saliency folder 1", "size": 7}')
    assert data.make()['made'] == 5
    assert json.loads((data.out / 'manifest.json').read_text())['size'] == SIZE
    assert data.make()['kept'] == 5


def test_wrong_out_dir(data):
    for out, message in ((data.root / 'JPEGImages', 'folder of the images'),
                         (data.root / 'ImageSets/train.txt', 'is a file'), (data.root / 'ImageSets', 'has files but'),
                         (data.root / 'JPEGImages/new', 'a folder of the data set'),
                         (data.root / 'SegmentationClass', 'a folder of the data set')):
        with pytest.raises(UserError, match=message):
            data.make(out)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_bad_files_are_left_out_and_nothing_else(data, tmp_path, num_workers):
    data.make(tmp_path / 'whole')
    data.image('a').write_bytes(data.image('a').read_bytes()[:-300])
    data.image('d').unlink()
    data.image('e').write_bytes(b'')
    summary = data.make(num_workers=num_workers, batch_size=2)
    assert [path for path, _ in summary['skipped']] == [str(data.image(stem)) for stem in 'ade']
    for (_, reason), part in zip(summary['skipped'], ['unreadable image', 'no such image', 'empty file']):
        assert part in reason and str(data.root) not in reason and '\n' not in reason
    assert (summary['made'], summary['kept'], summary['num_images']) == (2, 0, 5)
    whole = files(tmp_path / 'whole')
    assert files(data.out) == {name: whole[name] for name in ('b.c.png', 'c.png', 'manifest.json')}


def test_nothing_made_is_an_error(data):
    for stem in SIZES:
        data.image(stem).write_bytes(b'no image')
    with pytest.raises(UserError, match=r'a\.jpg: .*not one of the 5'):
        data.make()


def test_output_that_is_not_finite_is_left_out(data, tmp_path):
    # The root of a negative number: the dark image alone has one.
    Image.new('RGB', (9, 17)).save(data.image('d'))
    summary = data.make(model=write_saliency_onnx(tmp_path / 'root.onnx', [WEIGHT], 2., SIZE, root=True))
    (path, reason), = summary['skipped']
    assert path == str(data.image('d')) and 'root.onnx' in reason and 'not finite' in reason
    assert summary['made'] == 4 and not (data.out / 'd.png').exists()


def test_constant_output_is_nowhere_salient(data, tmp_path):
    assert data.make(model=write_saliency_onnx(tmp_path / 'flat.onnx', [[0, 0, 0]], 0.3, SIZE))['made'] == 5
    for stem, size in SIZES.items():
        saliency = read_saliency(data.out / f'{stem}.png')
        assert saliency.shape == size and not saliency.any()


def test_images_of_other_kinds(data):
    rng = np.random.default_rng(2)
    folder = data.root / 'JPEGImages'
    Image.fromarray(photograph(rng, (20, 30))[..., 0]).save(folder / 'grey.jpg')
    cv2.imwrite(str(folder / 'deep.png'), rng.integers(0, 65536, (21, 13, 3)).astype(np.uint16))
    Image.fromarray(rng.integers(0, 256, (16, 12, 4)).astype(np.uint8)).save(folder / 'alpha.PNG')
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: 20 x 30 are stored, 30 x 20 are meant
    Image.fromarray(photograph(rng, (20, 30))).save(folder / 'turned.jpg', exif=exif)
    Image.fromarray(photograph(rng, (1, 500))).save(folder / 'line.bmp')
    (data.root / 'ImageSets/kinds.txt').write_text('grey\ndeep\nalpha\nturned\nline\n')
    summary = make_saliency(data.model, data.root, 'kinds', size=SIZE, num_workers=0)
    assert (summary['made'], summary['skipped']) == (5, [])
    for stem, size in (('grey', (20, 30)), ('deep', (21, 13)), ('alpha', (16, 12)), ('turned', (30, 20)),
                       ('line', (1, 500))):
        assert read_saliency(data.out / f'{stem}.png').shape == size


def test_all_images_of_a_folder(data, tmp_path):
    (data.root / 'pictures/deeper').mkdir(parents=True)
    data.image('a').rename(data.root / 'pictures/x.jpg')
    data.image('e').rename(data.root / 'pictures/deeper/y.jpg')
    said = DataFolder.find(data.root, img_dir='pictures')
    summary = make_saliency(data.model, said, None, size=SIZE, num_workers=0)
    assert summary['made'] == 2
    assert sorted(files(data.out)) == ['manifest.json', 'x.png', 'y.png']


def test_full_disk_names_the_file(data, monkeypatch):
    real = os.replace

    def replace(source, target):
        if str(target).endswith('c.png'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        real(source, target)

    monkeypatch.setattr(os, 'replace', replace)
    with pytest.raises(OSError, match='No space') as caught:
        data.make()
    assert caught.value.filename == str(data.out / 'b.c.png')
    assert sorted(files(data.out)) == ['a.png', 'manifest.json']


@pytest.mark.parametrize('options, message', [
    ({'batch_size': 0}, 'batch_size'), ({'size': 0}, 'size'), ({'num_workers': -1}, 'num_workers'),
    ({'model': 'nowhere/u2net.onnx'}, r'nowhere/u2net\.onnx: no such model file.*rembg/releases'),
    ({'size': SIZE, 'img_dir': 'nowhere'}, 'a.jpg: no such image'),
])
def test_wrong_options_leave_nothing_behind(data, options, message):
    with pytest.raises(UserError, match=message):
        data.make(**options)
    assert not data.out.exists()


def test_wrong_model_leaves_nothing_behind(data, tmp_path):
    two = write_saliency_onnx(tmp_path / 'two.onnx', [WEIGHT, WEIGHT], size=SIZE)
    with pytest.raises(UserError, match='is no saliency model'):
        data.make(model=two)
    assert not data.out.exists()


def test_wrong_data_root_or_split(data, tmp_path):
    for root, split, message in ((tmp_path / 'nowhere', 'train', 'nowhere'), (data.root, 'test', 'test')):
        with pytest.raises(UserError, match=message):
            make_saliency(data.model, root, split, size=SIZE)
