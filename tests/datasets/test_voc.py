import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmwsss.datasets import VOCImageLabelDataset, VOCSegDataset
from mmwsss.registry import DATASETS
from mmwsss.structures.label_file import voc_palette, write_label
from mmwsss.utils.errors import UserError

VOC8 = Path(__file__).parents[2] / '../shared/data/voc8'


def infos(dataset):
    return {info['stem']: info for info in map(dataset.get_data_info, range(len(dataset)))}


def labels_of(dataset):
    return {stem: info['gt_img_label'].tolist() for stem, info in infos(dataset).items()}


def error_of(cls, *args, **kwargs):
    with pytest.raises(UserError) as error:
        cls(*args, **kwargs)
    assert '\n' not in str(error.value)
    return str(error.value)


def write_xml(root, stem, *names):
    path = root / 'Annotations' / f'{stem}.xml'
    path.parent.mkdir(exist_ok=True)
    objects = ''.join(f'<object><name>{name.strip("!")}</name><difficult>{int("!" in name)}</difficult></object>'
                      for name in names)
    path.write_text(f'<annotation>{objects}</annotation>')
    return path


EXPECTED = {'im_0': [1, 0], 'im_1': [0, 1], 'im_2': [1, 0], 'im_3': [0, 1]}


def test_image_labels(make_voc):
    root = make_voc()
    dataset = DATASETS.build(dict(type='VOCImageLabelDataset', data_root=str(root), split='train'))
    assert labels_of(dataset) == EXPECTED and dataset.skipped == []
    info = infos(dataset)['im_3']
    assert info['img_path'] == f'{root}/JPEGImages/im_3.jpg' and (info['height'], info['width']) == (13, 16)
    assert info['seg_map_path'] == f'{root}/SegmentationClass/im_3.png' and info['saliency_path'] is None
    assert dataset.metainfo == dict(classes=('cat', 'dog'), palette=voc_palette(3)[1:])


def test_label_sources(make_voc):
    root = make_voc(labels=False)
    assert labels_of(VOCImageLabelDataset(root, 'train')) == EXPECTED  # from the masks
    for i in range(4):
        write_xml(root, f'im_{i}', 'cat', 'dog!')
    both = {stem: [1, 1] for stem in EXPECTED}
    assert labels_of(VOCImageLabelDataset(root, 'train')) == both
    assert labels_of(VOCImageLabelDataset(root, 'train', use_difficult=False)) == {stem: [1, 0] for stem in EXPECTED}
    assert labels_of(VOCImageLabelDataset(root, 'train', label_source='mask')) == EXPECTED
    (root / 'labels.json').write_text('{"im_0": ["dog"], "im_1": ["dog"], "im_2": ["dog"], "im_3": ["dog"]}')
    dogs = {stem: [0, 1] for stem in EXPECTED}
    assert labels_of(VOCImageLabelDataset(root, 'train')) == dogs
    assert labels_of(VOCImageLabelDataset(root, 'train', label_source='json')) == dogs
    assert labels_of(VOCImageLabelDataset(root, 'train', label_source='xml')) == both
    (root / 'own.txt').write_text('im_0 cat\nim_1 cat\nim_2 cat\nim_3 cat\n')
    for path in ('own.txt', str(root / 'own.txt')):
        assert labels_of(VOCImageLabelDataset(root, 'train', label_source=path)) == {s: [1, 0] for s in EXPECTED}


def test_no_label_source_says_which_there_could_be(make_voc):
    root = make_voc(labels=False, masks=False)
    message = error_of(VOCImageLabelDataset, root, 'train')
    assert message.startswith(f'{root}: there are no image-level labels')
    assert all(f'{root}/{name}' in message for name in (
        'labels.json', 'Annotations/<image>.xml', 'SegmentationClass/<image>.png'))
    dataset = VOCImageLabelDataset(root, 'train', missing_label='none')
    assert len(dataset) == 4 and infos(dataset)['im_0']['gt_img_label'] is None


@pytest.mark.parametrize('source, file', [
    ('json', 'labels.json'), ('xml', 'Annotations'), ('mask', 'SegmentationClass'), ('own.csv', 'own.csv')])
def test_named_source_that_is_not_there(make_voc, source, file):
    root = make_voc(labels=False, masks=False)
    assert error_of(VOCImageLabelDataset, root, 'train', label_source=source).startswith(f'{root}/{file}: ')


def test_damaged_label_sources(make_voc):
    root = make_voc(labels=False)
    path = write_xml(root, 'im_0', 'horse')
    assert "image 'im_0': 'horse' is not in the class list" in error_of(
        VOCImageLabelDataset, root, 'train', missing_label='skip')
    path.write_text('<annotation>')
    assert error_of(VOCImageLabelDataset, root, 'train').startswith(f'{path}: not valid XML')
    (root / 'labels.json').write_text('')
    assert error_of(VOCImageLabelDataset, root, 'train').startswith(f'{root}/labels.json: not valid json')


def test_image_without_xml(make_voc):
    root = make_voc(labels=False, masks=False)
    write_xml(root, 'im_1', 'dog')
    assert 'no label for im_0.jpg, im_2.jpg, im_3.jpg; ' in error_of(VOCImageLabelDataset, root, 'train')
    assert labels_of(VOCImageLabelDataset(root, 'train', missing_label='skip')) == {'im_1': [0, 1]}


def test_labels_from_damaged_masks(make_voc):
    root = make_voc(labels=False)
    masks = root / 'SegmentationClass'
    (masks / 'im_0.png').write_bytes(b'x')
    write_label(masks / 'im_2.png', np.full((12, 16), 255, np.uint8))  # nobody knows what is there
    dataset = VOCImageLabelDataset(root, 'train', missing_label='skip')
    assert labels_of(dataset) == {'im_1': [0, 1], 'im_3': [0, 1]}
    assert [path for path, _ in dataset.skipped] == [f'{root}/JPEGImages/im_{i}.jpg' for i in (0, 2)]
    assert str(masks / 'im_0.png') in dataset.skipped[0][1]
    write_label(masks / 'im_2.png', np.zeros((12, 16), np.uint8))  # nothing but background: none of the classes
    assert labels_of(VOCImageLabelDataset(root, 'train')) == {'im_1': [0, 1], 'im_2': [0, 0], 'im_3': [0, 1]}
    write_label(masks / 'im_2.png', np.full((12, 16), 3, np.uint8))
    assert f'{masks}/im_2.png: has the id 3, but there are 2' in error_of(VOCImageLabelDataset, root, 'train')


def test_masks_are_checked_only_where_they_are_required(make_voc):
    root = make_voc()
    write_label(root / 'SegmentationClass/im_1.png', np.zeros((3, 3), np.uint8))
    (root / 'SegmentationClass/im_2.png').unlink()
    assert len(VOCImageLabelDataset(root, 'train')) == 4
    dataset = VOCImageLabelDataset(root, 'train', require_masks=True)
    assert list(infos(dataset)) == ['im_0', 'im_3']
    assert dataset.skipped[0][1].startswith(f'mask {root}/SegmentationClass/im_1.png: is 3 x 3')
    assert dataset.skipped[1][1] == 'missing mask'


def test_split_and_images(make_voc, write_image):
    root = make_voc()
    (root / 'ImageSets/train.txt').write_text('im_2\nim_9\nim_0\n')
    dataset = VOCImageLabelDataset(root, 'train')
    assert list(infos(dataset)) == ['im_2', 'im_0']
    assert dataset.skipped == [(f'{root}/JPEGImages/im_9', 'missing image')]
    assert 'splits here: train' in error_of(VOCImageLabelDataset, root, 'val')
    (root / 'ImageSets/train.txt').write_text('im_9\n')
    assert 'no image is left of 1; the first: ' in error_of(VOCImageLabelDataset, root, 'train')
    write_image(root / 'JPEGImages/im_9.bmp')
    (root / 'labels.json').write_text('{"im_9": ["cat"]}')
    assert infos(VOCImageLabelDataset(root, 'train'))['im_9']['img_path'].endswith('im_9.bmp')
    write_image(root / 'JPEGImages/im_9.png')
    assert 'im_9.png: has the same name as' in error_of(VOCImageLabelDataset, root, 'train')


def test_segmentation(make_voc):
    root = make_voc()
    dataset = DATASETS.build(dict(type='VOCSegDataset', data_root=str(root), split='train'))
    assert dataset.metainfo == dict(classes=('background', 'cat', 'dog'), palette=voc_palette(3))
    assert infos(dataset)['im_1'] == dict(
        img_path=f'{root}/JPEGImages/im_1.jpg', stem='im_1', seg_map_path=f'{root}/SegmentationClass/im_1.png',
        saliency_path=None, label_map=None, reduce_zero_label=False, seg_fields=[], height=11, width=16, sample_idx=1)


def test_pseudo_labels_in_another_folder(make_voc, tmp_path):
    root = make_voc(masks=False)
    folder = tmp_path / 'pseudo labels'
    for i in range(3):
        write_label(folder / f'im_{i}.png', np.full((10 + i, 16), i, np.uint8))
    message = error_of(VOCSegDataset, root, 'train', seg_dir=str(folder))
    assert message.startswith(f'{folder}: no mask for im_3; ') and "missing_mask='skip'" in message
    dataset = VOCSegDataset(root, 'train', seg_dir=str(folder), missing_mask='skip')
    assert [info['seg_map_path'] for info in infos(dataset).values()] == [f'{folder}/im_{i}.png' for i in range(3)]
    assert dataset.skipped == [(f'{root}/JPEGImages/im_3.jpg', 'missing mask')]
    assert f'{root}/SegmentationClass: there are no masks' in error_of(VOCSegDataset, root, 'train')


def test_damaged_masks_leave_their_images_out(make_voc):
    root = make_voc()
    folder = root / 'SegmentationClass'
    (folder / 'im_0.png').write_bytes((folder / 'im_0.png').read_bytes()[:-30])
    write_label(folder / 'im_1.png', np.zeros((16, 11), np.uint8))
    write_label(folder / 'im_2.png', np.full((12, 16), 7, np.uint8))
    dataset = VOCSegDataset(root, 'train')
    assert list(infos(dataset)) == ['im_3']
    for i, (path, reason) in enumerate(dataset.skipped):
        assert path == f'{root}/JPEGImages/im_{i}.jpg' and reason.startswith(f'mask {folder}/im_{i}.png: ')
    assert 'is 16 x 11' in dataset.skipped[1][1] and 'has the id 7' in dataset.skipped[2][1]


def test_saliency_is_found_and_checked(make_voc, write_image):
    root = make_voc()
    (root / 'Saliency').mkdir()
    cv2.imwrite(str(root / 'Saliency/im_1.png'), np.zeros((11, 16), np.uint8))
    cv2.imwrite(str(root / 'Saliency/im_2.png'), np.zeros((11, 16), np.uint8))
    found = infos(VOCSegDataset(root, 'train'))
    assert [stem for stem, info in found.items() if info['saliency_path']] == ['im_1', 'im_2']
    dataset = VOCSegDataset(root, 'train', require_saliency=True)
    assert list(infos(dataset)) == ['im_1']
    assert [reason.split(':')[0] for _, reason in dataset.skipped] == [
        'missing saliency map', f'saliency map {root}/Saliency/im_2.png', 'missing saliency map']


def test_bad_segmentation_options(make_voc):
    root = make_voc()
    assert error_of(VOCSegDataset, root, 'train', missing_mask='nothing').startswith('missing_mask: ')
    assert 'an 8-bit mask can hold 254' in error_of(VOCSegDataset, root, 'train', classes=[str(i) for i in range(255)])
    assert len(VOCSegDataset(root, 'train', classes=[str(i) for i in range(254)]).metainfo['palette']) == 255


@pytest.mark.skipif(not VOC8.is_dir(), reason='needs ../shared/data/voc8')
def test_voc8():
    train = VOCImageLabelDataset(VOC8, 'train', require_masks=True, require_saliency=True)
    val = VOCImageLabelDataset(VOC8, 'val', require_masks=True)
    assert (len(train), len(val)) == (1179, 280) and train.skipped == val.skipped == []
    counts = {'dog': (368, 82), 'cat': (295, 73), 'person': (295, 52), 'horse': (211, 52), 'sheep': (181, 36),
              'cow': (171, 42), 'sofa': (78, 11), 'chair': (75, 7)}
    for column, dataset in enumerate((train, val)):
        labels = np.stack([info['gt_img_label'] for info in infos(dataset).values()])
        assert {name: int(labels[:, i].sum()) for i, name in enumerate(train.metainfo['classes'])} == {
            name: count[column] for name, count in counts.items()}
        from_masks = VOCImageLabelDataset(VOC8, ('train', 'val')[column], label_source='mask')
        np.testing.assert_array_equal([info['gt_img_label'] for info in infos(from_masks).values()], labels)
    assert len(VOCSegDataset(VOC8, 'val')) == 280


def test_predictions_need_no_masks(generated_copy):
    shutil.rmtree(generated_copy / 'SegmentationClass')
    dataset = VOCSegDataset(generated_copy, 'val', missing_mask='none')
    assert len(dataset) == 4 and dataset.metainfo['classes'][0] == 'background' and not dataset.skipped
    assert {dataset.get_data_info(i)['seg_map_path'] for i in range(4)} == {None}


def test_all_images_of_another_folder(make_voc, write_image):
    root = make_voc()
    (root / 'JPEGImages').rename(root / 'photos')
    (root / 'photos/sub').mkdir()
    (root / 'photos/im_1.jpg').rename(root / 'photos/sub/im_1.jpg')
    shutil.rmtree(root / 'ImageSets')
    assert list(infos(VOCImageLabelDataset(root, None, img_dir='photos'))) == ['im_0', 'im_2', 'im_3']
    for img_dir in ('photos', str(root / 'photos')):
        found = infos(VOCSegDataset(root, None, img_dir=img_dir, recursive=True))
        assert list(found) == ['im_0', 'im_1', 'im_2', 'im_3']
        assert found['im_1']['img_path'] == f'{root}/photos/sub/im_1.jpg'
        assert found['im_1']['seg_map_path'] == f'{root}/SegmentationClass/im_1.png'
