import json

import numpy as np
import pytest
from localization_data import make_cub, write_picture

from mmwsss.datasets import LocalizationDataset
from mmwsss.datasets.localization_set import coco_to_localization, cub_to_localization, hold_out, masks_to_localization
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
