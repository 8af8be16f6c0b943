import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets import VOCImageLabelDataset
from mmwsss.datasets.coco.coco_to_voc import coco_to_voc
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import UserError

needs_pycocotools = pytest.mark.skipif(importlib.util.find_spec('pycocotools') is None,
                                       reason='pycocotools is not installed')


def annotation(image, category, segmentation, crowd=0):
    return {'image_id': image, 'category_id': category, 'iscrowd': crowd, 'segmentation': segmentation}


@pytest.fixture
def coco(tmp_path, write_image):
    """Images x/a.png, x/b.png, x/c.png of 8 x 10, and their json: c has no annotation."""
    for index, stem in enumerate('abc'):
        write_image(tmp_path / 'images/x' / f'{stem}.png', 8, 10, seed=index)
    square = [[0, 0, 6, 0, 6, 6, 0, 6]]
    content = {
        'images': [{'id': i, 'file_name': f'{stem}.png', 'height': 8, 'width': 10} for i, stem in enumerate('abc')],
        'annotations': [annotation(0, 7, square), annotation(0, 2, [[1, 1, 3, 1, 3, 3, 1, 3]]),
                        annotation(1, 2, {'size': [8, 10], 'counts': [40, 40]}, crowd=1),
                        annotation(1, 7, square)],
        'categories': [{'id': 7, 'name': 'dog'}, {'id': 2, 'name': 'cat'}]}

    def write(name='instances_train2017.json', **changes):
        (tmp_path / name).write_text(json.dumps(content | changes))
        return tmp_path / name
    write.content, write.images = content, tmp_path / 'images'
    return write


@needs_pycocotools
def test_layout(coco, tmp_path):
    out = tmp_path / 'voc'
    for _ in range(2):  # the second call finds everything
        summary = coco_to_voc(coco.images, coco(), out, masks=True, num_workers=0)
        assert summary == dict(split='train2017', num_images=3, num_unlabelled=1, num_classes=2, skipped=[])
    assert (out / 'classes.txt').read_text() == 'cat\ndog\n'  # by the ids
    assert (out / 'ImageSets/train2017.txt').read_text() == 'a\nb\nc\n'
    assert json.loads((out / 'labels.json').read_text()) == {'a': ['dog', 'cat'], 'b': ['cat', 'dog'], 'c': []}
    assert (out / 'JPEGImages/a.png').is_symlink()
    first, second = np.zeros((2, 8, 10), np.uint8)
    first[:6, :6], first[1:3, 1:3] = 2, 1
    second[:, 5:], second[:6, :6] = 255, 2  # the crowd lies below
    for stem, expected in (('a', first), ('b', second), ('c', np.zeros((8, 10)))):
        np.testing.assert_array_equal(read_label(out / f'SegmentationClass/{stem}.png'), expected)
    dataset = VOCImageLabelDataset(out, 'train2017', require_masks=True)
    assert [dataset[i]['gt_img_label'].tolist() for i in range(len(dataset))] == [[1, 1], [1, 1], [0, 0]]


def test_two_splits_copies_and_own_class_order(coco, tmp_path):
    out = tmp_path / 'voc'
    out.mkdir()
    (out / 'classes.txt').write_text('dog\ncow\ncat\n')
    images = coco.content['images']
    items = coco.content['annotations']
    coco_to_voc(coco.images, coco(images=images[:1], annotations=items[:2]), out, 'train', copy=True)
    coco_to_voc(coco.images, coco(images=images[1:], annotations=items[2:]), out, 'val', copy=True, masks=True,
                use_crowd=False, num_workers=0)
    assert not (out / 'JPEGImages/a.png').is_symlink()
    assert (out / 'JPEGImages/a.png').read_bytes() == (coco.images / 'x/a.png').read_bytes()
    assert json.loads((out / 'labels.json').read_text()) == {'a': ['dog', 'cat'], 'b': ['dog'], 'c': []}
    assert sorted(path.name for path in (out / 'ImageSets').iterdir()) == ['train.txt', 'val.txt']
    assert set(np.unique(read_label(out / 'SegmentationClass/b.png'))) == {0, 1, 255}
    assert (out / 'classes.txt').read_text() == 'dog\ncow\ncat\n'


@needs_pycocotools
def test_what_is_left_out(coco, tmp_path):
    images = [*coco.content['images'], {'id': 3, 'file_name': 'gone.png', 'height': 8, 'width': 10}]
    images[2] = {'id': 2, 'file_name': 'c.png', 'height': 10 ** 9, 'width': 10 ** 9}
    broken = [*coco.content['annotations'], annotation(0, 2, [[1, 2, 3]])]
    path = coco(images=images, annotations=broken)
    summary = coco_to_voc(coco.images, path, tmp_path / 'voc', masks=True, num_workers=0)
    assert summary['num_images'] == 1 and (tmp_path / 'voc/ImageSets/train2017.txt').read_text() == 'b\n'
    assert summary['skipped'] == [
        (f'{coco.images}/gone.png', 'missing image'),
        (f'{coco.images}/x/a.png', 'no mask: a polygon must be a list of pairs of numbers'),
        (f'{coco.images}/x/c.png', 'no mask: the json gives no usable height and width, but 1000000000 and 1000000000')]
    assert coco_to_voc(coco.images, path, tmp_path / 'other')['num_images'] == 3  # without masks


@needs_pycocotools
def test_workers_write_the_same(coco, tmp_path):
    for workers in (0, 2):
        coco_to_voc(coco.images, coco(), tmp_path / str(workers), masks=True, num_workers=workers)
    for stem in 'abc':
        one, two = (tmp_path / n / f'SegmentationClass/{stem}.png' for n in '02')
        assert one.read_bytes() == two.read_bytes()


def test_mistakes(coco, tmp_path, write_image):
    def error(message, path=None, **options):
        with pytest.raises(UserError, match=message):
            coco_to_voc(coco.images, path or coco(), tmp_path / 'voc', **options)

    error('--split: must be a plain name', split='a/b')
    error('"Background" is no foreground class; .*or write the names into',
          coco(categories=[{'id': 2, 'name': 'Background'}, {'id': 7, 'name': 'dog'}]))
    error("image 'y/a.jpg': has no name, or that of another",
          coco(images=[*coco.content['images'], {'id': 5, 'file_name': 'y/a.jpg'}]))
    many = [*coco.content['categories'], *({'id': 100 + i, 'name': f'class {i}'} for i in range(253))]
    error('has 255 classes, but an 8-bit mask can hold 254', coco(categories=many), masks=True)
    error('missing image .and no image is left', coco(images=[{'id': 5, 'file_name': 'z.png'}], annotations=[]))
    write_image(tmp_path / 'voc/JPEGImages/a.jpg', seed=9)
    error('is there already and is another image')
    (tmp_path / 'voc/classes.txt').write_text('cat\ndoge\n')
    error("'dog' is not in the class list .closest: 'doge'")


def test_images_of_another_size_than_the_json_says(coco, tmp_path, write_image):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (10, 8)).save(tmp_path / 'images/d.jpg', exif=exif)  # 8 x 10 are stored, 10 x 8 are meant
    write_image(tmp_path / 'images/e.png', 9, 10)
    images = [*coco.content['images'][2:], *({'id': i, 'file_name': name, 'height': 8, 'width': 10}
                                             for i, name in ((5, 'd.jpg'), (6, 'e.png')))]
    summary = coco_to_voc(coco.images, coco(images=images, annotations=[]), tmp_path / 'voc', masks=True,
                          num_workers=0)
    assert summary['num_images'] == 1 and summary['skipped'] == [
        (f'{coco.images}/d.jpg', 'no mask: the json is for an image of 8 x 10 (height x width), but it is 10 x 8, '
                                 'turned as its EXIF orientation says'),
        (f'{coco.images}/e.png', 'no mask: the json is for an image of 8 x 10 (height x width), but it is 9 x 10')]
    assert coco_to_voc(coco.images, coco(images=images, annotations=[]), tmp_path / 'other')['num_images'] == 3


def test_crowds_that_are_not_counted_make_no_negative(coco, tmp_path):
    items = coco.content['annotations'][2:3]  # the crowd in b
    summary = coco_to_voc(coco.images, coco(annotations=items), tmp_path / 'voc', use_crowd=False)
    assert (summary['num_images'], summary['num_unlabelled']) == (2, 2)
    assert summary['skipped'] == [
        (f'{coco.images}/x/b.png', 'no label: all its annotations are crowds, which are not counted')]
    assert json.loads((tmp_path / 'voc/labels.json').read_text()) == {'a': [], 'c': []}


def test_background_of_labelme_is_no_class(coco, tmp_path):
    categories = [{'id': 0, 'name': '_background_'}, *coco.content['categories']]
    coco_to_voc(coco.images, coco(categories=categories), tmp_path / 'voc')
    assert (tmp_path / 'voc/classes.txt').read_text() == 'cat\ndog\n'


def test_what_is_marked_to_be_ignored(coco, tmp_path):
    area = {'size': [8, 10], 'counts': [40, 40]}
    out = tmp_path / 'voc'
    categories = [{'id': 0, 'name': '__ignore__'}, *coco.content['categories']]
    items = [annotation(0, 0, area), annotation(0, 7, {'size': [8, 10], 'counts': [0, 16, 64]}), annotation(1, 0, area)]
    summary = coco_to_voc(coco.images, coco(categories=categories, annotations=items), out, masks=True, num_workers=0)
    assert (out / 'classes.txt').read_text() == 'cat\ndog\n' and summary['num_unlabelled'] == 2
    assert json.loads((out / 'labels.json').read_text()) == {'a': ['dog'], 'b': [], 'c': []}
    expected = np.zeros((8, 10), np.uint8)
    expected[:, :2], expected[:, 5:] = 2, 255
    np.testing.assert_array_equal(read_label(out / 'SegmentationClass/a.png'), expected)
    dataset = VOCImageLabelDataset(out, 'train2017')
    assert [dataset[i]['gt_img_label'].tolist() for i in range(2)] == [[0, 1], [0, 0]]


def test_category_that_the_class_list_cannot_hold(coco, tmp_path):
    categories = [{'id': 2, 'name': '#1'}, {'id': 7, 'name': 'dog'}]
    with pytest.raises(UserError, match=r"instances_train2017\.json: class '#1' cannot stand in classes\.txt"):
        coco_to_voc(coco.images, coco(categories=categories), tmp_path / 'voc')
    assert not (tmp_path / 'voc').exists()


def test_class_names_in_either_unicode_form(coco, tmp_path):
    out = tmp_path / 'voc'
    for name in ('Ba\u0308r', 'B\u00e4r', 'Ba\u0308r'):
        categories = [{'id': 2, 'name': name}, {'id': 7, 'name': 'dog'}]
        coco_to_voc(coco.images, coco(categories=categories), out)
    assert (out / 'classes.txt').read_text() == 'B\u00e4r\ndog\n'
    assert json.loads((out / 'labels.json').read_text())['a'] == ['dog', 'B\u00e4r']


def test_image_names_that_lists_would_cut(coco, tmp_path, write_image):
    names = ['shot.png.jpg', 'sp ace .jpg', 'shot.jpg']
    for i, name in enumerate(names):
        write_image(coco.images / name, seed=i)
    path = coco(images=[{'id': i, 'file_name': name} for i, name in enumerate(names)])
    for _ in range(2):
        coco_to_voc(coco.images, path, tmp_path / 'voc')
    dataset = VOCImageLabelDataset(tmp_path / 'voc', 'train2017')
    samples = [(dataset[i]['stem'], dataset[i]['gt_img_label'].tolist()) for i in range(len(dataset))]
    assert samples == [('shot.png', [1, 1]), ('sp ace ', [1, 1]), ('shot', [0, 0])]


def test_polygons_need_pycocotools(coco, tmp_path, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match='pip install mmwsss'):
        coco_to_voc(coco.images, coco(), tmp_path / 'voc', masks=True)
    assert not (tmp_path / 'voc').exists()
    coco_to_voc(coco.images, coco(), tmp_path / 'voc')


def test_links_of_an_earlier_run_become_copies(coco, tmp_path):
    for copy, linked in ((False, True), (True, False), (False, False)):  # what is a copy stays one
        coco_to_voc(coco.images, coco(), tmp_path / 'voc', copy=copy)
        assert [path.is_symlink() for path in (tmp_path / 'voc/JPEGImages').iterdir()] == [linked] * 3
    assert (tmp_path / 'voc/JPEGImages/a.png').read_bytes() == (coco.images / 'x/a.png').read_bytes()
