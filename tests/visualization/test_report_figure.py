import numpy as np
import pytest

from mmwsss.datasets import DataFolder
from mmwsss.datasets.synthetic.synthetic_dataset import generate_voc_layout
from mmwsss.structures.cam_file import CAMFile, write_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import read_label, write_label
from mmwsss.utils.errors import UserError
from mmwsss.visualization import display_palette, stage_figure
from mmwsss.visualization.report_figure import cam_figure

STEMS = ['train_00000', 'train_00001', 'train_00002']
HEIGHT = 48
CAM = 'cam/train_00000.npz'


@pytest.fixture
def data(tmp_path):
    """A data set with a CAM file (three classes, the second strongest) and a pseudo label for each image."""
    root = generate_voc_layout(tmp_path / 'data', num_train=3, num_val=0, size=(48, 64), num_classes=5)
    for stem in STEMS:
        cam = np.stack([np.full((12, 16), v, np.float16) for v in (.1, .9, .4)])
        write_cam(tmp_path / 'cam' / f'{stem}.npz', CAMFile(np.array([0, 2, 4]), cam, (48, 64)))
        write_label(tmp_path / 'labels' / f'{stem}.png', np.full((48, 64), 3, np.uint8))
    return root


def test_all_columns(data, tmp_path):
    out = tmp_path / 'new' / 'figure.png'
    sheet = stage_figure(STEMS, data, out, cam_dir=tmp_path / 'cam',
                         label_dirs={'pseudo label': tmp_path / 'labels'}, prediction_dir=tmp_path / 'labels',
                         height=HEIGHT)
    assert np.array_equal(read_image(out), sheet)
    # image, 2 CAMs, pseudo label, prediction, ground truth
    assert sheet.shape[1] == 6 + 6 * (64 + 6)
    left = [6 + i * 70 for i in range(6)]
    for number, stem in enumerate(STEMS):
        top = 6 + 18 + number * (48 + 6 + 18) + 18
        cells = [sheet[top:top + 48, x:x + 64] for x in left]
        photo = read_image(data / 'JPEGImages' / f'{stem}.jpg')
        assert np.array_equal(cells[0], photo)
        # Without the bar of the class name: .9 is red, .4 rather green.
        strong, weak = ((cell[:28] - .5 * photo[:28]).mean(axis=(0, 1)) for cell in cells[1:3])
        assert strong.argmax() == 0 and weak.argmax() == 1
        expected = .4 * photo + .6 * np.array(display_palette(4)[3])
        assert np.abs(cells[3] - expected).max() < 1 and np.array_equal(cells[3], cells[4])
        mask = read_label(data / 'SegmentationClass' / f'{stem}.png')
        assert np.array_equal(cells[5][mask == 0], photo[mask == 0])


def test_a_column_that_few_images_fill_is_none(data, tmp_path):
    for stem in STEMS[1:]:
        write_cam(tmp_path / 'cam' / f'{stem}.npz', CAMFile(np.array([1]), np.full((1, 12, 16), .5, np.float16),
                                                            (48, 64)))
    sheet = stage_figure(STEMS, data, tmp_path / 'out.png', cam_dir=tmp_path / 'cam', height=HEIGHT)
    assert sheet.shape[1] == 6 + 3 * 70  # image, CAM, ground truth
    # The two maps of the first image share its cell: red above, green below.
    top, photo = 6 + 18 + 18, read_image(data / 'JPEGImages' / f'{STEMS[0]}.jpg')
    cell = sheet[top:top + 48, 76 + 16:76 + 48]
    strong, weak = cell[:6].mean(axis=(0, 1)) - .5 * photo.mean(), cell[24:30].mean(axis=(0, 1)) - .5 * photo.mean()
    assert strong.argmax() == 0 and weak.argmax() == 1


def test_cams_of_one_image(data, tmp_path):
    sheet = cam_figure(STEMS[0], DataFolder.find(data), {'CAM': tmp_path / 'cam'}, tmp_path / 'out', HEIGHT)
    assert sheet.shape == (48 + 12, 6 + 4 * 70, 3)  # image and three maps
    assert np.array_equal(read_image(tmp_path / 'out' / f'{STEMS[0]}.png'), sheet)


def test_cams_of_several_folders(data, tmp_path):
    one = CAMFile(np.array([2, 3]), np.stack([np.full((12, 16), v, np.float16) for v in (.4, .9)]), (48, 64))
    write_cam(tmp_path / 'other' / f'{STEMS[0]}.npz', one)
    folders = {'CAM': tmp_path / 'cam', 'SSA': tmp_path / 'other'}
    sheet = cam_figure(STEMS[0], DataFolder.find(data), folders, tmp_path / 'out', HEIGHT)
    # A row for each of the classes 0, 2, 3, 4; columns: image, CAM, SSA.
    assert sheet.shape == (6 + 18 + 4 * 54, 6 + 3 * 70, 3)
    first, second = ([sheet[24 + row * 54:24 + row * 54 + 28, 6 + column * 70:70 + column * 70] for row in range(4)]
                     for column in (1, 2))
    white = [[(cell == 255).all() for cell in column] for column in (first, second)]
    assert white == [[False, False, True, False], [True, False, False, True]]
    photo = read_image(data / 'JPEGImages' / f'{STEMS[0]}.jpg')[:28]
    strongest = [(cell - .5 * photo).mean(axis=(0, 1)).argmax() for cell in (first[1], second[1], second[2])]
    assert strongest == [0, 1, 0]  # .9 is red, .4 rather green


@pytest.mark.parametrize('columns, number', [({}, 2), ({'cam_dir': 'cam'}, 4), ({'cam_dir': 'cam', 'num_cams': 3}, 5),
                                             ({'prediction_dir': 'labels'}, 3)])
def test_columns_without_a_folder_are_left_out(data, tmp_path, columns, number):
    columns = {key: tmp_path / value if key.endswith('dir') else value for key, value in columns.items()}
    sheet = stage_figure(STEMS[:1], data, tmp_path / 'out.png', height=HEIGHT, **columns)
    assert sheet.shape[1] == 6 + number * 70


def test_without_masks_there_is_no_ground_truth_column_and_no_legend(data, tmp_path):
    for path in (data / 'SegmentationClass').iterdir():
        path.unlink()
    sheet = stage_figure(STEMS, data, tmp_path / 'out.png', height=HEIGHT)
    assert sheet.shape == (24 + 3 * 72, 6 + 70, 3)
    assert stage_figure([], data, tmp_path / 'out.png').size > 0


def test_a_missing_file_leaves_its_cell_empty(data, tmp_path):
    (tmp_path / 'cam' / f'{STEMS[1]}.npz').unlink()
    (tmp_path / 'labels' / f'{STEMS[1]}.png').unlink()
    sheet = stage_figure(STEMS, data, tmp_path / 'out.png', cam_dir=tmp_path / 'cam',
                         prediction_dir=tmp_path / 'labels', height=HEIGHT)
    top = 24 + 72 + 18
    assert (sheet[top:top + 48, 76:76 + 3 * 70 - 6] == 255).all()
    assert (sheet[top:top + 48, 286:350] != 255).any(), 'its ground truth is there'


def test_images_of_several_sizes(tmp_path):
    root = generate_voc_layout(tmp_path / 'data', num_train=12, num_val=0, size=40)
    stems = (root / 'ImageSets' / 'train.txt').read_text().split()
    sheet = stage_figure(stems, root, tmp_path / 'out.png', height=30)
    assert sheet.shape[0] > 12 * 54


@pytest.mark.parametrize('break_it, message', [
    (lambda t: write_cam(t / CAM, CAMFile(np.array([0]), np.zeros((1, 9, 9), np.float16), (9, 9))),
     'npz: was made for an image of size'),
    (lambda t: write_cam(t / CAM, CAMFile(np.array([5]), np.zeros((1, 12, 16), np.float16), (48, 64))),
     'npz: has class 5'),
    (lambda t: (t / CAM).write_bytes(b'PK'), 'npz: not a valid CAM file'),
    (lambda t: write_label(t / 'labels/train_00000.png', np.zeros((9, 9), np.uint8)), 'png: has size'),
    (lambda t: write_label(t / 'labels/train_00000.png', np.full((48, 64), 6, np.uint8)), 'png: has label 6'),
    (lambda t: (t / 'data/JPEGImages/train_00000.jpg').unlink(), 'train_00000: no such image'),
    (lambda t: (t / 'cam').rename(t / 'moved'), 'cam: no such folder')])
def test_mistakes_name_the_file(data, tmp_path, break_it, message):
    break_it(tmp_path)
    with pytest.raises(UserError, match=message):
        stage_figure(STEMS, data, tmp_path / 'out.png', cam_dir=tmp_path / 'cam',
                     prediction_dir=tmp_path / 'labels')
    assert not (tmp_path / 'out.png').exists()


def test_number_of_cams_is_checked(data, tmp_path):
    with pytest.raises(ValueError, match='num_cams'):
        stage_figure(STEMS, data, tmp_path / 'out.png', num_cams=4)
