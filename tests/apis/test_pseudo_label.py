import errno
import json
import os
import shutil
import time

import cv2
import numpy as np
import pytest
from PIL import Image
from pseudo_label_data import BACKGROUND, CLASSES, Data, data_fixture, files, random_cam, registered  # noqa: F401  two are fixtures

from mmwsss.apis.pseudo_label import make_pseudo_label
from mmwsss.datasets import DataFolder
from mmwsss.postprocessing import label_map, to_score_map
from mmwsss.structures.cam_file import CAMManifest, open_cam_dir, write_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import read_label, voc_palette
from mmwsss.utils.errors import UserError

CRF = {'type': 'DenseCRF', 'iterations': 3}


def test_labels_equal_the_definition(data):
    summary = data.make()
    pixels = background = 0
    for stem, cam_file in data.cam_files.items():
        label = read_label(data.out / f'{stem}.png')
        size = data.images[stem][0]
        assert label.shape == size
        expected = np.zeros(size, np.uint8)
        if len(cam_file.classes):
            # cv2's bilinear resize has the same pixel centres as align_corners=False.
            maps = np.stack([cv2.resize(m.astype(np.float32), size[::-1]) for m in cam_file.cam])
            expected = np.where(maps.max(0) > 0.4, cam_file.classes[maps.argmax(0)] + 1, 0)
            # Where two scores nearly tie, the two resizes may round to different sides.
            scores = np.sort(np.concatenate([np.full((1, *size), 0.4), maps]), axis=0)
            clear = scores[-1] - scores[-2] > 1e-5
            np.testing.assert_array_equal(label[clear], expected[clear])
        else:
            np.testing.assert_array_equal(label, expected)
        pixels += label.size
        background += (label == 0).sum()
    assert summary == {'num_images': 6, 'made': 6, 'kept': 0, 'skipped': [],
                       'background_share': pytest.approx(background / pixels), 'ignored_share': 0,
                       'background': {'type': 'constant', 'threshold': 0.4}}
    with Image.open(data.out / 'a.png') as image:
        assert image.mode == 'P'
        assert image.getpalette()[:12] == [value for colour in voc_palette(4) for value in colour]
    assert sorted(files(data.out)) == sorted([*(f'{stem}.png' for stem in data.images), 'manifest.json'])


def test_leftovers_of_a_killed_run_are_removed(data, leftover):
    data.make()
    expected = files(data.out)
    (data.out / 'a.png').unlink()
    leftover(data.out / 'a.png')
    stays = leftover(data.out / 'e.png', alive=True)
    assert data.make()['made'] == 1
    stays.unlink()
    assert files(data.out) == expected


@pytest.mark.parametrize('postprocessors', [[], [CRF]])
def test_same_bytes_for_any_number_of_workers(data, tmp_path, postprocessors):
    results = [data.make(tmp_path / f'out{n}', num_workers=n, postprocessors=postprocessors) for n in (0, 1, 2, 4)]
    assert all(result == results[0] for result in results)
    first = files(tmp_path / 'out0')
    assert len(first) == 7
    for n in (1, 2, 4):
        assert files(tmp_path / f'out{n}') == first


def test_postprocessors_run_in_order_and_see_the_image_in_rgb(data):
    red = np.zeros((30, 41, 3), np.uint8)
    red[:, :20, 0] = 255
    red[:, 20:, 2] = 255
    Image.fromarray(red).save(data.image('a'), quality=100)
    data.make(postprocessors=[{'type': 'TestBrightness'}, {'type': 'TestBrightness', 'gain': -0.3}])
    label = read_label(data.out / 'a.png')
    assert not label[:, :15].any()
    assert label[:, 25:].any()


def test_crf_changes_labels_of_present_classes_only(data, tmp_path):
    data.make(tmp_path / 'plain')
    data.make(tmp_path / 'crf', postprocessors=[CRF])
    changed = 0
    for stem, (_, classes) in data.images.items():
        plain, crf = (read_label(tmp_path / name / f'{stem}.png') for name in ('plain', 'crf'))
        changed += (plain != crf).sum()
        assert set(np.unique(crf)) <= {0, *(k + 1 for k in classes)}
    assert changed > 0


@pytest.mark.parametrize('num_workers', [0, 2])
def test_resume_gives_the_same(data, tmp_path, num_workers):
    whole = data.make(tmp_path / 'whole')
    data.make()
    kept = data.out / 'a.png'
    before = kept.stat().st_mtime_ns
    (data.out / 'e.png').unlink()
    (data.out / 'f.png').write_bytes(b'\x89PNG\r\n')  # not ours: ours are whole or not there
    data.cam('a').unlink()  # whose label is there already
    resumed = data.make(num_workers=num_workers)
    assert (resumed['made'], resumed['kept']) == (2, 4)
    assert resumed['background_share'] == whole['background_share']
    assert kept.stat().st_mtime_ns == before
    assert files(data.out) == files(tmp_path / 'whole')


@pytest.mark.parametrize('change, named', [
    ({'background': {'type': 'power', 'alpha': 2}}, 'background'),
    ({'background': {'type': 'constant', 'threshold': 0.41}}, 'background'),
    ({'postprocessors': [{'type': 'TestBrightness'}]}, 'postprocessors'),
])
def test_other_settings_do_not_mix(data, change, named):
    data.make()
    before = files(data.out)
    with pytest.raises(UserError, match=rf'manifest\.json.*\({named}\).*another folder'):
        data.make(**change)
    assert files(data.out) == before


def test_other_cams_do_not_mix(data, tmp_path):
    data.make()
    (data.cams / 'manifest.json').unlink()
    for path in data.cams.glob('*.npz'):
        path.rename(tmp_path / path.name)
    open_cam_dir(data.cams, CAMManifest('2' * 64, '1' * 64, CLASSES, {'stride': 4}))
    for path in tmp_path.glob('*.npz'):
        path.rename(data.cams / path.name)
    with pytest.raises(UserError, match='cam_manifest_sha256'):
        data.make()


def test_labels_without_manifest_are_not_trusted(data):
    data.out.mkdir()
    (data.out / 'a.png').write_bytes(b'')
    with pytest.raises(UserError, match=r'png files but no manifest\.json'):
        data.make()
    (data.out / 'manifest.json').write_text('[1')
    with pytest.raises(UserError, match=r'manifest\.json: cannot be read'):
        data.make()
    (data.out / 'manifest.json').write_text('[1]')
    with pytest.raises(UserError, match=r'manifest\.json: cannot be read'):
        data.make()


def test_missing_cam_is_an_error(data):
    data.cam('b.c').unlink()
    data.cam('e').unlink()
    with pytest.raises(UserError, match=r'b\.c\.npz: no such CAM file \(2 of 6 are missing\).*mmwsss cam'):
        data.make()
    assert not data.out.exists()
    summary = data.make(missing_cam='skip')
    assert summary['skipped'] == [(str(data.cam(stem)), 'no such CAM file') for stem in ('b.c', 'e')]
    assert summary['made'] == 4


def test_missing_cam_of_an_unreadable_image_is_skipped(data):
    # mmwsss cam cannot make a CAM of it, so asking for one would lead nowhere.
    data.cam('e').unlink()
    data.image('e').write_bytes(b'not an image')
    summary = data.make()
    assert summary['made'] == 5
    (path, reason), = summary['skipped']
    assert path == str(data.image('e')) and 'unreadable' in reason


def test_missing_cam_of_a_hidden_image_is_skipped(data):
    (data.root / 'JPEGImages/.hidden.jpg').write_bytes(data.image('e').read_bytes())
    with open(data.root / 'ImageSets/train.txt', 'a') as file:
        file.write('\n.hidden\n')
    summary = data.make()
    assert summary['made'] == 6 and summary['skipped'] == [(str(data.image('.hidden')), 'no such image')]


@pytest.mark.parametrize('num_workers', [0, 2])
def test_bad_files_are_left_out_and_nothing_else(data, tmp_path, num_workers):
    data.make(tmp_path / 'whole', num_workers=num_workers)
    data.cam('a').write_bytes(data.cam('a').read_bytes()[:-40])
    data.image('b.c').write_bytes(data.image('b.c').read_bytes()[:-300])
    Image.new('RGB', (18, 9)).save(data.image('d'))  # was (9, 17), width first
    write_cam(data.cam('e'), random_cam(np.random.default_rng(1), [0, 3], (33, 20)))
    data.image('f').unlink()
    summary = data.make(num_workers=num_workers)
    assert [path for path, _ in summary['skipped']] == [
        str(path) for path in (data.cam('a'), data.image('b.c'), data.image('d'), data.cam('e'), data.image('f'))]
    reasons = [reason for _, reason in summary['skipped']]
    for reason, part in zip(reasons, ['CAM file', 'unreadable', r'(9, 18)', 'class id 3', 'cannot be read']):
        assert part in reason
        assert str(data.root) not in reason and '\n' not in reason
    assert summary['made'] == 1
    whole = files(tmp_path / 'whole')
    assert files(data.out) == {name: whole[name] for name in ('c.png', 'manifest.json')}


def test_mended_files_are_made_by_the_next_run(data, tmp_path):
    data.make(tmp_path / 'whole')
    good = data.cam('a').read_bytes()
    data.cam('a').write_bytes(good[:50])
    assert len(data.make()['skipped']) == 1
    data.cam('a').write_bytes(good)
    summary = data.make()
    assert (summary['made'], summary['kept'], summary['skipped']) == (1, 5, [])
    assert files(data.out) == files(tmp_path / 'whole')


def test_nothing_made_is_an_error(data):
    for stem in data.images:
        data.cam(stem).write_bytes(b'')
    with pytest.raises(UserError, match=r'a\.npz.*not one of the 6'):
        data.make()


def test_error_of_a_postprocessor_names_the_image(data):
    with pytest.raises(UserError, match=r'a\.jpg: this image is not to my taste'):
        data.make(postprocessors=[{'type': 'TestBroken'}])


def test_images_of_other_kinds(tmp_path):
    sizes = {'grey': (20, 30), 'deep': (21, 13), 'alpha': (16, 16), 'turned': (30, 20)}
    data = Data(tmp_path, {stem: (size, [1]) for stem, size in sizes.items()})
    rng = np.random.default_rng(2)
    for stem in sizes:
        data.image(stem).unlink()
    Image.fromarray(rng.integers(0, 256, (20, 30)).astype(np.uint8)).save(data.root / 'JPEGImages/grey.jpg')
    deep = rng.integers(0, 65536, (21, 13, 3)).astype(np.uint16)
    cv2.imwrite(str(data.root / 'JPEGImages/deep.png'), deep)
    Image.fromarray(rng.integers(0, 256, (16, 16, 4)).astype(np.uint8)).save(data.root / 'JPEGImages/alpha.PNG')
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: 20 x 30 are stored, 30 x 20 are meant
    Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(
        data.root / 'JPEGImages/turned.jpg', exif=exif)
    summary = data.make(postprocessors=[{'type': 'TestBrightness', 'gain': 0.2}])
    assert (summary['made'], summary['skipped']) == (4, [])
    for stem, size in sizes.items():
        assert read_label(data.out / f'{stem}.png').shape == size
    got = read_image(data.root / 'JPEGImages/deep.png')
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got[..., ::-1], deep >> 8)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_full_disk_names_the_file(data, monkeypatch, num_workers):
    def write(path, label):
        if path.name == 'c.png':
            raise OSError(errno.ENOSPC, 'No space left on device', str(path))

    monkeypatch.setattr(label_map, 'write_label', write)
    with pytest.raises(OSError, match='No space') as caught:
        data.make(num_workers=num_workers)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(data.out / 'c.png')


def test_classes_must_be_those_of_the_cams(data):
    with pytest.raises(UserError, match=r"manifest\.json.*'cat', 'dog', 'sheep'.*'cat', 'dog'\]"):
        data.make(classes=['cat', 'dog'])
    (data.root / 'classes.txt').write_text('dog\ncat\nsheep\n')
    with pytest.raises(UserError, match=r'manifest\.json'):
        data.make()
    assert data.make(classes=CLASSES)['made'] == 6
    (data.root / 'classes.txt').unlink()
    assert data.make()['kept'] == 6


def test_too_many_classes(data, tmp_path):
    names = [f'class{i}' for i in range(255)]
    open_cam_dir(tmp_path / 'many', CAMManifest(None, None, names))
    with pytest.raises(UserError, match='254'):
        make_pseudo_label(tmp_path / 'many', DataFolder.find(data.root, classes=names), 'train', data.out)


@pytest.mark.parametrize('options, message', [
    ({'background': {'type': 'constant', 'threshold': 1.5}}, 'threshold'), ({'num_workers': -1}, 'num_workers'),
    ({'missing_cam': 'ignore'}, 'missing_cam'), ({'postprocessors': [{'type': 'Nope'}]}, 'Nope'),
])
def test_wrong_options_leave_nothing_behind(data, options, message):
    with pytest.raises(UserError, match=message):
        data.make(**options)
    assert not data.out.exists()


def test_wrong_folders(data, tmp_path):
    for arguments, message in [((data.root, data.root, 'train', data.out), r'manifest\.json'),
                               ((data.cams, tmp_path / 'nowhere', 'train', data.out), 'nowhere'),
                               ((data.cams, data.root, 'test', data.out), 'test'),
                               ((data.cams, data.root, 'train', data.cams), 'folder of the CAMs'),
                               ((data.cams, data.root, 'train', data.root / 'JPEGImages'), 'folder of the data set'),
                               ((data.cams, data.root, 'train', data.root / 'classes.txt'), 'is a file')]:
        with pytest.raises(UserError, match=message):
            make_pseudo_label(*arguments, num_workers=0)


def test_manifest_says_how_the_labels_were_made(data):
    data.make(postprocessors=[{'type': 'TestBrightness', 'gain': 0.5}])
    manifest = json.loads((data.out / 'manifest.json').read_text())
    assert manifest['background'] == BACKGROUND
    assert manifest['postprocessors'] == [{'type': 'TestBrightness', 'gain': 0.5}]
    assert manifest['classes'] == list(CLASSES)


def test_label_older_than_its_cam_or_image_is_made_again(data):
    data.make()
    first, second = list(data.cam_files)[:2]
    later = time.time_ns() + 10**9
    for path in (data.cam(first), data.image(second)):
        os.utime(path, ns=(later, later))
    assert data.make()['made'] == 2


def test_saliency_as_background(data):
    background = dict(type='saliency', weight=0.8)
    (data.root / 'Saliency').mkdir()
    rng, maps = np.random.default_rng(5), {}
    for stem, (size, _) in data.images.items():
        if stem != 'f':
            maps[stem] = rng.integers(0, 256, size).astype(np.uint8)
            Image.fromarray(maps[stem]).save(data.root / f'Saliency/{stem}.png')
    summary = data.make(background=background)
    assert [reason for _, reason in summary['skipped']] == [
        'has no saliency map, of which its background is to be made; mmwsss saliency makes it']
    for stem, saliency in maps.items():
        expected = to_score_map(data.cam_files[stem], background, saliency).to_label()
        np.testing.assert_array_equal(read_label(data.out / f'{stem}.png'), expected)
    Image.fromarray(255 - maps['a']).save(data.root / 'Saliency/a.png')  # a newer one
    os.utime(data.root / 'Saliency/a.png', ns=(2**62, 2**62))
    assert data.make(background=background)['made'] == 1


def test_saliency_maps_of_another_folder_are_another_setting(data):
    """Older files in another folder: their time does not show that they are others."""
    background = dict(type='saliency', weight=0.8)
    for name, value in (('Saliency', 255), ('Other', 30)):
        (data.root / name).mkdir()
        for stem, (size, _) in data.images.items():
            path = data.root / name / f'{stem}.png'
            Image.fromarray(np.full(size, value, np.uint8)).save(path)
            os.utime(path, ns=(10**18, 10**18))
    first = data.make(background=background)
    assert data.make(background=background)['kept'] == first['made']
    with pytest.raises(UserError, match=r'with other settings \(saliency\)'):
        data.make(background=background, saliency_dir='Other')
    # How they were made is what counts: two folders of one model are the same.
    shutil.rmtree(data.out)
    for name in ('Saliency', 'Other'):
        (data.root / name / 'manifest.json').write_text('{"model": "m"}')
    data.make(background=background)
    assert data.make(background=background, saliency_dir='Other')['kept'] == first['made']


def test_saliency_maps_of_0_and_1_are_refused(data):
    (data.root / 'Saliency').mkdir()
    for stem, (size, _) in data.images.items():
        Image.fromarray(np.ones(size, np.uint8)).save(data.root / f'Saliency/{stem}.png')
    with pytest.raises(UserError, match='the saliency maps hold 0 and 1 only; write 255 for what is salient'):
        data.make(background=dict(type='saliency', weight=0.8))
    assert not data.out.exists()
