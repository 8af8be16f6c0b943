import numpy as np
import pytest

from mmwsss.apis.pseudo_label import make_pseudo_label
from mmwsss.cli.main import main
from mmwsss.datasets import DataFolder
from mmwsss.postprocessing import build_postprocessors, pseudo_label
from mmwsss.postprocessing.background import check_background, choose_threshold
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, write_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import label_path, read_label
from mmwsss.utils.errors import UserError


def test_the_threshold_is_the_mean_of_the_maxima():
    rng = np.random.default_rng(0)
    maxima = [rng.random((height, 5)).astype(np.float16) for height in (2, 9, 30)]
    expected = 0
    for maximum in maxima:  # every image counts as much
        total = 0.
        for value in maximum.ravel():
            total += float(value)
        expected += total / maximum.size / 3
    assert choose_threshold(maxima) == round(expected, 2)
    assert choose_threshold([np.ones((2, 2))]) == .99 and choose_threshold([np.zeros((2, 2))]) == 0
    with pytest.raises(ValueError, match='no maps'):
        choose_threshold([])


@pytest.fixture
def cams(generated_root, tmp_path):
    """CAMs of the generated images; their maxima are .2 and .4 in turn, and the last image has no class."""
    data = DataFolder.find(generated_root)
    open_cam_dir(tmp_path / 'cam', CAMManifest(None, None, data.classes))
    stems = data.stems('train')
    for number, stem in enumerate(stems):
        size = read_image(data.image_paths()[stem]).shape[:2]
        grid, count = [-(-side // 4) for side in size], 0 if number == len(stems) - 1 else 2
        cam = np.full((count, *grid), .1, np.float16)
        cam[:1] = (.2, .4)[number % 2]
        write_cam(cam_path(tmp_path / 'cam', stem), CAMFile(np.array([2, 0][:count], np.int64), cam, size))
    return tmp_path / 'cam'


def test_labels_of_a_folder(cams, generated_root, tmp_path):
    done = [make_pseudo_label(cams, generated_root, 'train', tmp_path / kind, background, num_workers=0)
            for kind, background in (('auto', dict(type='auto')), ('same', dict(type='constant', threshold=.29)))]
    assert done[0] == done[1] and done[0]['background'] == dict(type='constant', threshold=.29)
    for path in (tmp_path / 'auto').glob('*.png'):
        assert path.read_bytes() == (tmp_path / 'same' / path.name).read_bytes()
    again = make_pseudo_label(cams, generated_root, 'train', tmp_path / 'auto', dict(type='auto'), num_workers=0)
    assert (again['made'], again['kept']) == (0, 12)


@pytest.mark.parametrize('postprocessors', [[], [dict(type='DenseCRF', unary='label')]])
def test_without_background_every_pixel_is_a_class(postprocessors):
    rng = np.random.default_rng(0)
    image, cam = rng.integers(0, 256, (12, 16, 3), np.uint8), np.zeros((2, 12, 16), np.float16)
    cam[:, :6] = rng.random((2, 6, 16))
    built = build_postprocessors(postprocessors)
    label = pseudo_label(CAMFile(np.array([4, 1]), cam, (12, 16)), image, dict(type='none'), built)
    assert set(np.unique(label)) <= {2, 5}
    if not postprocessors:
        assert np.array_equal(label, np.where(cam[1] > cam[0], 2, 5))
    empty = CAMFile(np.zeros(0, np.int64), np.zeros((0, 12, 16), np.float16), (12, 16))
    assert (pseudo_label(empty, image, dict(type='none'), built) == 255).all()


def test_command(cams, generated_root, tmp_path, capsys):
    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main(['label', str(cams), '--data-root', str(generated_root), '--split', 'train', '--num-workers', '0',
                  '--out-dir', str(tmp_path / 'out'), *words])
        return stop.value.code, *capsys.readouterr()

    assert run('--threshold', 'auto')[:2][0] == 0
    code, out, _ = run('--threshold', 'auto')
    assert code == 0 and 'constant(threshold=0.29)' in out
    assert run('--threshold', 'some')[0] == 2 and run('--threshold', 'auto', '--no-background')[0] == 2
    (tmp_path / 'out').rename(tmp_path / 'old')
    assert run('--no-background')[0] == 0
    stems = (generated_root / 'ImageSets/train.txt').read_text().split()
    assert set(np.unique(read_label(label_path(tmp_path / 'out', stems[0])))) == {3}
    assert set(np.unique(read_label(label_path(tmp_path / 'out', stems[-1])))) == {255}


def test_where_they_may_be_used():
    for kind in 'auto', 'none':
        check_background(dict(type=kind))
        check_background(dict(type=kind, threshold=.2))  # that of a base config
        with pytest.raises(UserError, match='background must be'):
            check_background(dict(type=kind, alpha=8))
        with pytest.raises(UserError, match='cannot hold another one'):
            check_background(dict(type='confident', foreground=dict(type=kind), background=dict(type=kind)))
    with pytest.raises(UserError, match='chosen for a whole folder'):
        pseudo_label(CAMFile(np.array([0]), np.zeros((1, 4, 4), np.float16), (4, 4)), np.zeros((4, 4, 3), np.uint8),
                     dict(type='auto'))
