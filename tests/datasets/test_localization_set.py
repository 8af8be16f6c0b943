import json
import shutil
import unicodedata

import numpy as np
import pytest
from localization_data import make_cub, write_picture
from PIL import Image

from mmwsss.datasets import LocalizationDataset
from mmwsss.datasets.localization_set import (
    LocalizationImage,
    check_hold_out,
    coco_to_localization,
    cub_to_localization,
    hold_out,
    masks_to_localization,
    write_localization_set,
)
from mmwsss.datasets.wsol_metadata import merge_object_masks, metadata_to_localization
from mmwsss.structures import read_label, write_label
from mmwsss.utils.errors import UserError


def test_masks(make_voc, tmp_path):
    root = make_voc(count=4)
    mask = np.zeros((10, 16), np.uint8)
    mask[0, 0] = 1
    mask[3:8, 4:9] = 1
    mask[9, 12:15] = 1
    write_label(root / 'SegmentationClass/im_0.png', mask)
    mask = read_label(root / 'SegmentationClass/im_1.png')
    mask[-1] = 1  # two classes
    write_label(root / 'SegmentationClass/im_1.png', mask)
    (root / 'SegmentationClass/im_3.png').unlink()
    summary = masks_to_localization(root, tmp_path / 'set', 'train', name='test')
    assert (summary['num_images'], summary['num_other'], summary['num_boxes'], summary['num_masks']) == (2, 1, 3, 2)
    (path, reason), = summary['skipped']
    assert path.endswith('im_3.jpg') and 'no such label file' in reason
    dataset = LocalizationDataset(tmp_path / 'set', 'test', require_boxes=True)
    assert [info['stem'] for info in dataset] == ['im_0', 'im_2']
    # The single pixel is below a twentieth of the largest component.
    assert dataset[0]['gt_boxes'].tolist() == [[4, 3, 9, 8], [12, 9, 15, 10]]
    assert dataset[1]['gt_boxes'].tolist() == [[3, 2, 9, 6]] and dataset[1]['gt_img_label'].tolist() == [1, 0]
    assert dataset.metainfo['classes'] == ('cat', 'dog') and dataset[1]['seg_map_path'].endswith('Masks/im_2.png')
    found = read_label(tmp_path / 'set/Masks/im_2.png')
    assert found[2:6, 3:9].min() == found[2:6, 3:9].max() == 1 and (found[2:6, 9] == 255).all()
    assert masks_to_localization(root, tmp_path / 'set', 'train', name='test') == summary  # the same again


def test_cub_and_held_out_images(tmp_path):
    root = make_cub(tmp_path / 'cub', count=16)
    cub_to_localization(root, tmp_path / 'set', 'test')
    summary = cub_to_localization(root, tmp_path / 'set', 'train')
    assert summary['num_images'] == 12 and summary['num_boxes'] == 12 and summary['num_classes'] == 3
    counts = hold_out(tmp_path / 'set', 'train', .25)
    assert counts == dict(train=9, held_out=3)
    splits = {name: [info['stem'] for info in LocalizationDataset(tmp_path / 'set', name, require_boxes=True)]
              for name in ('train', 'held_out', 'test')}
    assert {name: len(stems) for name, stems in splits.items()} == dict(counts, test=4)
    assert len(set().union(*splits.values())) == 16
    assert len({stem[:6] for stem in splits['held_out']}) == 3  # one of every class
    for mistake, message in ((dict(share=1.5), 'between 0 and 1'), (dict(name='held_out'), 'is there already')):
        with pytest.raises(UserError, match=message):
            hold_out(tmp_path / 'set', **mistake)
    with pytest.raises(UserError, match='--split: is one of train, test'):
        cub_to_localization(root, tmp_path / 'set', 'val')


def test_held_out_images_need_boxes(tmp_path):
    cub_to_localization(make_cub(tmp_path / 'cub'), tmp_path / 'set', 'train')
    (tmp_path / 'set/boxes.json').write_text('{}')
    with pytest.raises(UserError, match='held-out images need full labels'):
        hold_out(tmp_path / 'set')


def test_coco(tmp_path):
    content = dict(categories=[dict(id=7, name='dog'), dict(id=3, name='cat')], images=[], annotations=[])
    square = [[1, 1, 5, 1, 5, 5, 1, 5]]
    for i, objects in enumerate(([7], [7, 7], [7, 3], [], [3])):
        write_picture(tmp_path / f'images/{i}.jpg')
        content['images'].append(dict(id=i, file_name=f'{i}.jpg', height=12, width=16))
        content['annotations'] += [dict(image_id=i, category_id=kind, bbox=[1, 1 + j, 4, 4.5], segmentation=square)
                                   for j, kind in enumerate(objects)]
    content['annotations'][-1]['iscrowd'] = 1
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(content))
    summary = coco_to_localization(tmp_path / 'images', path, tmp_path / 'set', 'train', masks=True)
    assert (summary['num_images'], summary['num_other'], summary['num_boxes']) == (2, 3, 3)
    dataset = LocalizationDataset(tmp_path / 'set', 'train')
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset[1]['gt_boxes'].tolist() == [[1, 1, 5, 5.5], [1, 2, 5, 6.5]]
    mask = read_label(dataset[0]['seg_map_path'])
    assert mask.shape == (12, 16) and mask[2, 2] == 1 and mask[8, 8] == 0
    summary = coco_to_localization(tmp_path / 'images', path, tmp_path / 'other', 'train', min_area=.09)
    assert summary['num_images'] == 2
    with pytest.raises(UserError, match='no image is left'):
        coco_to_localization(tmp_path / 'images', path, tmp_path / 'other', 'train', min_area=.1)
    content['annotations'][0]['bbox'] = [1, 2]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"image '0': .* is no bbox"):
        coco_to_localization(tmp_path / 'images', path, tmp_path / 'set', 'train')


def test_metadata_of_wsolevaluation(tmp_path):
    metadata = tmp_path / 'metadata'
    metadata.mkdir()
    for i in range(2):
        write_picture(tmp_path / f'images/val/{i}.jpg')
    (metadata / 'class_labels.txt').write_text('val/0.jpg,0\nval/1.jpg,11\n')
    (metadata / 'localization.txt').write_text('val/0.jpg,1,2,3,4\nval/0.jpg,0,0,5,5\nval/1.jpg,1,1,2,2\n')
    metadata_to_localization(tmp_path / 'images', metadata, tmp_path / 'boxes', 'val')
    dataset = LocalizationDataset(tmp_path / 'boxes', 'val', require_boxes=True)
    assert dataset[0]['gt_boxes'].tolist() == [[1, 2, 4, 5], [0, 0, 6, 6]]
    assert len(dataset.metainfo['classes']) == 12 and dataset[1]['gt_img_label'].argmax() == 11

    masks = tmp_path / 'masks'
    for name, rows in (('a', slice(0, 3)), ('b', slice(5, 7)), ('ignore', slice(2, 10))):
        mask = np.zeros((12, 16), np.uint8)
        mask[rows] = 255
        write_label(masks / f'{name}.png', mask)
    (metadata / 'localization.txt').write_text('val/0.jpg,a.png,ignore.png\nval/0.jpg,b.png,\nval/1.jpg,b.png,\n')
    with pytest.raises(UserError, match='--masks-dir'):
        metadata_to_localization(tmp_path / 'images', metadata, tmp_path / 'masked', 'val')
    summary = metadata_to_localization(tmp_path / 'images', metadata, tmp_path / 'masked', 'val', masks)
    assert (summary['num_masks'], summary['num_boxes']) == (2, 0)
    mask = read_label(LocalizationDataset(tmp_path / 'masked', 'val')[0]['seg_map_path'])
    assert mask[:, 0].tolist() == [1, 1, 1, 255, 255, 1, 1, 255, 255, 255, 0, 0]
    with pytest.raises(UserError, match='masks of the image differ in size'):
        write_label(masks / 'small.png', np.zeros((3, 3), np.uint8))
        merge_object_masks([str(masks / 'a.png'), str(masks / 'small.png')], [])
    (metadata / 'localization.txt').write_text('val/0.jpg,1,2,3\n')
    with pytest.raises(UserError, match='line 1 has 4 parts'):
        metadata_to_localization(tmp_path / 'images', metadata, tmp_path / 'masked', 'val')


def test_data_set_refuses_several_classes_and_leaves_out_without_box(make_voc, tmp_path):
    masks_to_localization(make_voc(), tmp_path / 'set', 'train')
    boxes = json.loads((tmp_path / 'set/boxes.json').read_text())
    boxes['im_0'] = []
    (tmp_path / 'set/boxes.json').write_text(json.dumps(boxes))
    dataset = LocalizationDataset(tmp_path / 'set', 'train', require_boxes=True)
    assert len(dataset) == 3 and 'no box in' in dataset.skipped[0][1]
    assert len(LocalizationDataset(tmp_path / 'set', 'train')) == 4
    (tmp_path / 'set/labels.json').write_text(json.dumps({f'im_{i}': ['cat', 'dog'] for i in range(4)}))
    with pytest.raises(UserError, match="image 'im_0' has 2 classes"):
        LocalizationDataset(tmp_path / 'set', 'train')


def test_held_out_images_are_not_put_back(make_voc, tmp_path):
    root, out = make_voc(count=8), tmp_path / 'set'
    masks_to_localization(root, out, 'train')
    masks_to_localization(root, out, 'train', name='all')  # splits may overlap, but none gets back what it has given
    hold_out(out, 'train', .25)
    before = {path.name: path.read_bytes() for path in out.rglob('*.*') if path.is_file()}
    with pytest.raises(UserError, match=r'train\.txt: .* would get .im_\d. back, which is in .*; remove'):
        masks_to_localization(root, out, 'train')
    with pytest.raises(UserError, match=r'held_out\.txt: .* would get'):
        masks_to_localization(root, out, 'train', name='held_out')
    with pytest.raises(UserError, match=r'held_out\.txt: is there already, .*; remove it'):
        check_hold_out(out, 'train', .25)
    assert {path.name: path.read_bytes() for path in out.rglob('*.*') if path.is_file()} == before
    for name in ('all', 'held_out'):
        (out / f'ImageSets/{name}.txt').unlink()
    assert masks_to_localization(root, out, 'train')['num_images'] == 8


def test_what_can_be_refused_before_there_is_a_set(make_voc, tmp_path):
    root = make_voc()
    for share in (0, 1, 2, float('nan')):
        with pytest.raises(UserError, match='--held-out: must be a share between 0 and 1'):
            check_hold_out(tmp_path / 'set', 'train', share)
    with pytest.raises(UserError, match='a split of the same name'):
        check_hold_out(tmp_path / 'set', 'held_out', .2)
    with pytest.raises(UserError, match='--min-share: must be a share from 0 to 1'):
        masks_to_localization(root, tmp_path / 'set', 'train', min_share=5)
    with pytest.raises(UserError, match='--min-area: must be a share from 0 to 1'):
        coco_to_localization(root / 'JPEGImages', tmp_path / 'no.json', tmp_path / 'set', 'train', min_area=5)
    assert not (tmp_path / 'set').exists()


@pytest.fixture
def coco(tmp_path):
    """Images 0 and 1 of 12 x 16 of one category each, and their json."""
    def write(names=('dog', 'cat'), sizes=((12, 16), (12, 16))):
        content = dict(categories=[dict(id=k, name=name) for k, name in enumerate(names)], images=[], annotations=[])
        for i, (height, width) in enumerate(sizes):
            write_picture(tmp_path / f'images/{i}.png', seed=i)
            content['images'].append(dict(id=i, file_name=f'{i}.png', height=height, width=width))
            content['annotations'].append(dict(
                image_id=i, category_id=i % len(names), bbox=[width // 2, 1, 4, 4],
                segmentation=dict(size=[height, width], counts=[0, 5, height * width - 5])))
        (tmp_path / 'instances.json').write_text(json.dumps(content))
        return tmp_path / 'images', tmp_path / 'instances.json'
    return write


@pytest.mark.parametrize('masks', [False, True])
def test_coco_of_another_size_is_left_out(coco, tmp_path, masks):
    images, path = coco(sizes=((120, 160), (12, 16), (12, 16)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (16, 12)).save(images / '2.png', exif=exif)
    summary = coco_to_localization(images, path, tmp_path / 'set', 'train', masks=masks)
    assert summary['skipped'] == [
        (f'{images}/0.png', 'the boxes are for 120 x 160 (height x width), but the image is 12 x 16'),
        (f'{images}/2.png', 'the boxes are for 12 x 16 (height x width), but the image is 16 x 12, turned as its EXIF '
                            'orientation says')]
    assert json.loads((tmp_path / 'set/boxes.json').read_text()) == {'1': [[8, 1, 12, 5]]}
    assert [path.name for path in (tmp_path / 'set').rglob('0.*')] == []


def test_masks_of_another_size_are_left_out(make_voc, tmp_path):
    root = make_voc(count=3)
    write_label(root / 'SegmentationClass/im_1.png', np.ones((9, 16), np.uint8))
    expected = 'no mask: it is 9 x 16 (height x width), but the image is 11 x 16'
    summary = masks_to_localization(root, tmp_path / 'set', 'train')
    assert summary['skipped'] == [(f'{root}/JPEGImages/im_1.jpg', expected)]
    assert not (tmp_path / 'set/Masks/im_1.png').exists()
    metadata = tmp_path / 'metadata'
    metadata.mkdir()
    (metadata / 'class_labels.txt').write_text('im_0.jpg,0\nim_1.jpg,0\n')
    (metadata / 'localization.txt').write_text('im_0.jpg,im_0.png,\nim_1.jpg,im_1.png,\n')
    summary = metadata_to_localization(root / 'JPEGImages', metadata, tmp_path / 'other', 'val',
                                       root / 'SegmentationClass')
    assert summary['num_masks'] == 1 and summary['skipped'] == [(f'{root}/JPEGImages/im_1.jpg', expected)]


def test_masks_stay_where_the_images_are_others(make_voc, tmp_path):
    masks_to_localization(make_voc(), tmp_path / 'set', 'train')
    before = (tmp_path / 'set/Masks/im_0.png').read_bytes()
    other = make_voc(root=tmp_path / 'other')
    write_picture(other / 'JPEGImages/im_0.jpg', height=10, seed=9)
    write_label(other / 'SegmentationClass/im_0.png', np.ones((10, 16), np.uint8))
    with pytest.raises(UserError, match='is another image than'):
        masks_to_localization(other, tmp_path / 'set', 'train')
    assert (tmp_path / 'set/Masks/im_0.png').read_bytes() == before


def test_masks_and_images_are_found_as_data_sets_find_them(make_voc, tmp_path):
    root = make_voc(count=4)
    masks = root / 'SegmentationClass'
    (masks / 'im_0.png').rename(masks / 'im_0.PNG')
    for part, extension in (('JPEGImages', 'jpg'), ('SegmentationClass', 'png')):
        (root / part / 'sub').mkdir()
        (root / part / f'im_1.{extension}').rename(root / part / f'sub/im_1.{extension}')
        accented = f'{unicodedata.normalize("NFD", "é")}.{extension}'
        (root / part / f'im_2.{extension}').rename(root / part / accented)
    (root / 'ImageSets/train.txt').write_text('im_0\nim_1\né\nim_3\n')
    summary = masks_to_localization(root, tmp_path / 'set', 'train')
    assert (summary['num_images'], summary['num_masks'], summary['skipped']) == (4, 4, [])
    dataset = LocalizationDataset(tmp_path / 'set', 'train', require_boxes=True)
    assert [info['stem'] for info in dataset] == ['im_0', 'im_1', 'é', 'im_3']
    # held-out images need full labels, which may be masks with names of another disk
    (tmp_path / 'set/boxes.json').write_text('{}')
    for path in list((tmp_path / 'set/Masks').iterdir()):
        path.rename(path.with_suffix('.PNG'))
    assert hold_out(tmp_path / 'set', 'train', .5) == dict(train=2, held_out=2)


def test_classes_read_back_as_they_were(coco, tmp_path):
    with pytest.raises(UserError, match=r"instances\.json: class '#1' cannot stand in classes\.txt"):
        coco_to_localization(*coco(names=('#1', 'cat')), tmp_path / 'set', 'train')
    assert not (tmp_path / 'set').exists()
    images, path = coco(names=(unicodedata.normalize('NFD', 'Bär'), 'cat', '__ignore__'),
                        sizes=((12, 16), (12, 16), (12, 16)))
    for _ in range(2):  # the second call reads what the first has written
        summary = coco_to_localization(images, path, tmp_path / 'set', 'train')
        assert (summary['num_images'], summary['num_other'], summary['num_classes']) == (2, 1, 2)
    image = LocalizationImage(str(images / '0.png'), unicodedata.normalize('NFD', 'Bär'), [[0, 0, 2, 2]])
    write_localization_set(tmp_path / 'set', 'test', {'0': image}, ['Bär', 'cat'])
    dataset = LocalizationDataset(tmp_path / 'set', 'test')
    assert dataset.metainfo['classes'] == ('Bär', 'cat') and dataset[0]['gt_img_label'].tolist() == [1, 0]


def test_names_that_look_like_one_with_an_extension(make_voc, tmp_path):
    root = make_voc(count=4)
    for stem in ('im_0', 'im_2'):
        shutil.move(root / f'JPEGImages/{stem}.jpg', root / f'JPEGImages/{stem}.png.jpg')
        shutil.move(root / f'SegmentationClass/{stem}.png', root / f'SegmentationClass/{stem}.png.png')
    (root / 'ImageSets/train.txt').write_text('im_0.png.jpg\nim_1\nim_2.png.jpg\nim_3\n')
    masks_to_localization(root, tmp_path / 'set', 'train')
    hold_out(tmp_path / 'set', 'train', .5)
    stems = {name: [info['stem'] for info in LocalizationDataset(tmp_path / 'set', name, require_boxes=True)]
             for name in ('train', 'held_out')}
    assert sorted(stems['train'] + stems['held_out']) == ['im_0.png', 'im_1', 'im_2.png', 'im_3']
