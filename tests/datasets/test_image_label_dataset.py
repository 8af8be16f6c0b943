import json

import numpy as np
import pytest
from mmengine.dataset import ClassBalancedDataset

from mmwsss.datasets import ImageLabelDataset
from mmwsss.registry import DATASETS
from mmwsss.structures.label_file import voc_palette, write_label
from mmwsss.utils.errors import UserError


def infos(dataset):
    return {info['stem']: info for info in map(dataset.get_data_info, range(len(dataset)))}


def error_of(*args, **kwargs):
    with pytest.raises(UserError) as error:
        ImageLabelDataset(*args, **kwargs)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_samples(make_folder):
    root = make_folder()
    dataset = DATASETS.build(dict(type='ImageLabelDataset', data_root=str(root)))
    assert dataset.metainfo['classes'] == ('cat', 'dog') and dataset.metainfo['palette'] == voc_palette(3)[1:]
    assert dataset.skipped == [] and len(dataset) == 3
    found = infos(dataset)
    assert list(found) == ['a', 'b', 'c']
    assert [found[stem]['gt_img_label'].tolist() for stem in 'abc'] == [[1, 0], [0, 1], [1, 1]]
    assert found['b'].pop('gt_img_label').dtype == np.float32
    assert found['b'] == dict(img_path=f'{root}/images/b.png', stem='b', seg_map_path=None, saliency_path=None,
                              label_map=None, reduce_zero_label=False, seg_fields=[], height=11, width=16, sample_idx=1)
    assert [dataset.get_cat_ids(i) for i in range(3)] == [[0], [1], [0, 1]]


def test_any_class_list(make_folder):
    root = make_folder(labels='a,x\nb,y\nc,z;x\n')
    names = ['z', 'y', 'x', *(f'class {i}' for i in range(997))]
    dataset = ImageLabelDataset(root, classes=names)
    assert dataset.metainfo['classes'] == tuple(names) and len(dataset.metainfo['palette']) == 1000
    assert np.flatnonzero(infos(dataset)['c']['gt_img_label']).tolist() == [0, 2]


@pytest.mark.parametrize('name, text', [
    ('l.csv', 'image,labels\nimages/a.png,cat\nb,dog\nc.JPG,cat;dog\n'),
    ('l.txt', 'a.png cat\nb dog\nc cat dog\n'), ('l.json', '{"a": ["cat"], "b.png": ["dog"], "c": ["dog", "cat"]}')])
def test_label_files_of_every_kind(make_folder, name, text):
    root = make_folder()
    (root / name).write_text(text)
    for path in (name, str(root / name)):
        found = infos(ImageLabelDataset(root, label_file=path))
        assert [found[stem]['gt_img_label'].tolist() for stem in 'abc'] == [[1, 0], [0, 1], [1, 1]]


def test_sub_folders(make_folder, write_image):
    root = make_folder(labels='a,cat\nb,dog\nc,cat\nd,dog\n')
    write_image(root / 'images' / 'sub' / 'deep' / 'd.jpg')
    assert infos(ImageLabelDataset(root))['d']['img_path'] == f'{root}/images/sub/deep/d.jpg'
    write_image(root / 'images' / 'sub' / 'a.jpg')
    message = error_of(root)
    assert f'{root}/images/sub/a.jpg' in message and f'{root}/images/a.png' in message


def test_masks_in_sub_folders(make_folder):
    root = make_folder()
    for name in ('x/a', 'b', 'views/b'):
        write_label(root / 'masks' / f'{name}.png', np.ones((10, 16), np.uint8))
    found = infos(ImageLabelDataset(root, mask_dir='masks'))
    assert [found[s]['seg_map_path'] for s in 'abc'] == [f'{root}/masks/x/a.png', f'{root}/masks/b.png', None]


def test_masks_and_saliency_maps(make_folder, write_image):
    root = make_folder()
    write_label(root / 'masks' / 'a.png', np.ones((10, 16), np.uint8))
    write_label(root / 'masks' / 'b.png', np.ones((10, 16), np.uint8))  # the image is 11 x 16
    dataset = ImageLabelDataset(root, mask_dir='masks', saliency_dir='nowhere')
    assert [infos(dataset)[s]['seg_map_path'] for s in 'abc'] == [f'{root}/masks/a.png', f'{root}/masks/b.png', None]
    dataset = ImageLabelDataset(root, mask_dir=str(root / 'masks'), require_masks=True)
    assert list(infos(dataset)) == ['a']
    assert dataset.skipped == [
        (f'{root}/images/b.png', f'mask {root}/masks/b.png: is 10 x 16 (height x width), but the image is 11 x 16'),
        (f'{root}/images/c.png', 'missing mask')]
    write_label(root / 'saliency' / 'c.png', np.zeros((12, 16), np.uint8))  # a palette is not grey
    write_image(root / 'saliency' / 'b.png')
    (root / 'saliency' / 'a.png').write_bytes(b'x')
    message = error_of(root, saliency_dir='saliency', require_saliency=True)
    assert f'{root}/images: no image is left of 3' in message and f'saliency map {root}/saliency/a.png: ' in message
    assert 'there are no masks' in error_of(root, require_masks=True)
    message = error_of(root, saliency_dir='nowhere', require_saliency=True)
    assert f'{root}/nowhere: there are no saliency maps' in message


def test_mask_ids_are_checked_against_the_class_list(make_folder):
    root = make_folder()
    for stem, value in zip('abc', (2, 3, 255)):
        write_label(root / 'masks' / f'{stem}.png', np.full((10 + ord(stem) - ord('a'), 16), value, np.uint8))
    dataset = ImageLabelDataset(root, mask_dir='masks', require_masks=True)
    assert list(infos(dataset)) == ['a', 'c'] and 'has the id 3' in dataset.skipped[0][1]


def test_split(make_folder):
    root = make_folder()
    (root / 'list.txt').write_text('c\nimages/a.png\ngone.png\n')
    dataset = ImageLabelDataset(root, split='list.txt')
    assert list(infos(dataset)) == ['c', 'a']
    assert dataset.skipped == [(f'{root}/images/gone', 'missing image')]
    assert 'no such split' in error_of(root, split='other.txt')
    (root / 'ImageSets').mkdir()
    (root / 'ImageSets/val.txt').write_text('b\n')
    assert list(infos(ImageLabelDataset(root, split='val'))) == ['b']


def test_split_of_names_with_spaces(make_folder):
    root = make_folder(images=('cat 0', 'cat 1'), labels='cat 0,cat\ncat 1,dog\n')
    (root / 'list.txt').write_text('cat 1\n')  # a line of VOC's, but for the image of that name
    assert list(infos(ImageLabelDataset(root, split='list.txt'))) == ['cat 1']


def test_image_listed_in_the_label_file_only(make_folder):
    root = make_folder(labels='a,cat\nb,dog\nc,cat\nz.jpg,cat\n')
    dataset = ImageLabelDataset(root)
    assert dataset.skipped == [(f'{root}/images/z', f'missing image, listed in {root}/labels.csv')]


def test_images_without_label(make_folder):
    root = make_folder(labels='a,cat\nb\n', images='abcde')
    message = error_of(root)
    assert message.startswith(f'{root}/labels.csv: no label for b.png, c.png, d.png and 1 more; ')
    assert message.endswith("leave such images out with missing_label='skip' (--missing-label skip)")
    dataset = ImageLabelDataset(root, missing_label='skip')
    assert list(infos(dataset)) == ['a']
    assert dataset.skipped == [(f'{root}/images/{s}.png', f'no label in {root}/labels.csv') for s in 'bcde']
    dataset = ImageLabelDataset(root, missing_label='none')
    assert dataset.skipped == []
    assert [info['gt_img_label'] is None for info in infos(dataset).values()] == [False, True, True, True, True]
    assert dataset.get_cat_ids(1) == []


def test_unlabelled_folder(make_folder):
    root = make_folder()
    dataset = ImageLabelDataset(root, label_file=None, missing_label='none')
    assert all(info['gt_img_label'] is None for info in infos(dataset).values())
    assert error_of(root, label_file=None).startswith('label_file: is None')


def test_unknown_class(make_folder):
    root = make_folder(labels='a,cat\nb,dgo\nc,cat\n')
    message = error_of(root)
    assert message.startswith(f"{root}/labels.csv: image 'b': 'dgo' is not in the class list (closest: 'dog')")


def test_bad_images_are_left_out_and_logged(make_folder, monkeypatch):
    messages = []
    monkeypatch.setattr('mmwsss.datasets.base.print_log', lambda message, *args, **kwargs: messages.append(message))
    stems = [chr(ord('a') + i) for i in range(15)]
    root = make_folder(labels=''.join(f'{s},cat\n' for s in stems), images=stems)
    paths = [root / 'images' / f'{stem}.png' for stem in stems]
    for path in paths[1:13]:
        path.write_bytes(path.read_bytes()[:100])
    dataset = ImageLabelDataset(root)
    assert list(infos(dataset)) == ['a', 'n', 'o']
    assert [path for path, _ in dataset.skipped] == [str(path) for path in paths[1:13]]
    assert all(reason.startswith('unreadable image') for _, reason in dataset.skipped)
    assert len(messages) == 11 and messages[-1] == 'left out 2 more images'
    assert all(str(path) in message and '\n' not in message for path, message in zip(paths[1:11], messages))


def test_nothing_left(make_folder):
    root = make_folder()
    for path in (root / 'images').iterdir():
        path.write_bytes(b'')
    assert error_of(root) == f'{root}/images: no image is left of 3; the first: {root}/images/a.png: empty file'


@pytest.mark.parametrize('options, message', [
    (dict(img_dir='nowhere'), 'nowhere: cannot be read as a folder'),
    (dict(label_file='nowhere.csv'), 'nowhere.csv: cannot be read'),
    (dict(missing_label='ignore'), 'missing_label: must be one of'),
    (dict(filter_cfg=dict(filter_empty_gt=True)), 'filter_cfg: knows only min_size'),
    (dict(seed=-1), 'seed: must be 0 or more'),
    (dict(indices=0), 'indices: 0 selects no image'),
    (dict(indices=[]), 'indices: [] selects no image'),
    (dict(classes=[]), 'no class name')])
def test_bad_options(make_folder, options, message):
    assert message in error_of(make_folder(), **options)


def test_folder_without_images(make_folder):
    root = make_folder(images='', labels='')
    assert 'there is no label in it' in error_of(root)
    assert 'no image is left of 0' in error_of(root, label_file=None, missing_label='none')


def test_small_images_can_be_filtered(make_folder):
    root = make_folder()
    dataset = ImageLabelDataset(root, filter_cfg=dict(min_size=11))
    assert list(infos(dataset)) == ['b', 'c']
    assert dataset.skipped == [(f'{root}/images/a.png', 'smaller than min_size=11')]


@pytest.mark.parametrize('indices, stems', [(2, 'ab'), (-1, 'c'), ([2, 0], 'ca'), (99, 'abc')])
@pytest.mark.parametrize('serialize_data', [True, False])
def test_indices(make_folder, indices, stems, serialize_data):
    dataset = ImageLabelDataset(make_folder(), indices=indices, serialize_data=serialize_data)
    assert list(infos(dataset)) == list(stems)


def test_lazy_init(make_folder, write_image):
    root = make_folder()
    dataset = ImageLabelDataset(root, lazy_init=True)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    (root / 'labels.csv').write_text('a,dog\nb,dog\nc,dog\n')
    dataset.full_init()
    assert dataset.get_cat_ids(0) == [1]


def test_class_balanced_sampling(make_folder):
    dataset = ImageLabelDataset(make_folder(labels='a,cat\nb,cat\nc,dog\n'))
    balanced = ClassBalancedDataset(dataset, oversample_thr=0.9)
    assert [balanced[i]['stem'] for i in range(len(balanced))] == ['a', 'a', 'b', 'b', 'c', 'c']


def test_labels_match_an_independent_reading(make_folder):
    rng = np.random.default_rng(0)
    stems = [f's{i}' for i in range(12)]
    table = {stem: [c for c in ('cat', 'dog') if rng.random() < 0.6] or ['dog'] for stem in stems}
    root = make_folder(images=stems)
    (root / 'labels.json').write_text(json.dumps(table))
    found = infos(ImageLabelDataset(root, label_file='labels.json'))
    for stem in stems:
        assert found[stem]['gt_img_label'].tolist() == [float(c in table[stem]) for c in ('cat', 'dog')]
