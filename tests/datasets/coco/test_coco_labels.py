import copy
import json
import re

import numpy as np
import pytest

from mmwsss.datasets import ImageLabelDataset, VOCImageLabelDataset
from mmwsss.datasets.coco.coco_labels import class_name, coco_classes, is_instances, read_instances
from mmwsss.datasets.label_sources import read_label_file
from mmwsss.utils.errors import UserError

CONTENT = {
    'info': {'year': 2017}, 'licenses': [{'id': 1, 'name': 'CC'}],
    'images': [{'id': 9, 'file_name': 'a.png', 'height': 4, 'width': 6},
               {'id': 7, 'file_name': 'sub/b.jpg', 'height': 4, 'width': 6}, {'id': 8, 'file_name': 'c.png'}],
    'annotations': [{'id': 1, 'image_id': 7, 'category_id': 90, 'iscrowd': 0, 'bbox': [1, 2, 3, 4],
                     'segmentation': [[0, 0, 4, 0, 4, 4]]},
                    {'id': 2, 'image_id': 9, 'category_id': 90}, {'id': 3, 'image_id': 7, 'category_id': 90},
                    {'id': 4, 'image_id': 7, 'category_id': 3, 'iscrowd': 1,
                     'segmentation': {'size': [4, 6], 'counts': [24]}}],
    'categories': [{'id': 90, 'name': 'dog', 'supercategory': 'animal'}, {'id': 3, 'name': ' cat '}]}


def write(folder, content, name='instances_train2017.json'):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


def test_labels(tmp_path):
    path = write(tmp_path, CONTENT)
    assert read_label_file(path) == {'a': ['dog'], 'b': ['dog', 'cat'], 'c': []}
    assert read_label_file(path, use_crowd=False) == {'a': ['dog'], 'b': ['dog'], 'c': []}


def test_instances(tmp_path):
    path = write(tmp_path, CONTENT)
    instances = read_instances(path)
    assert instances.categories == {90: 'dog', 3: 'cat'}
    assert [image['file_name'] for image, _ in instances.images] == ['a.png', 'sub/b.jpg', 'c.png']
    assert [[item['id'] for item in items] for _, items in instances.images] == [[2], [1, 3, 4], []]
    slim = read_instances(path, outlines=False)
    assert slim.images[1][1][0] == {'image_id': 7, 'category_id': 90, 'iscrowd': 0}
    assert [image for image, _ in slim.images] == [image for image, _ in instances.images]


def test_classes(tmp_path):
    content = copy.deepcopy(CONTENT)
    content['categories'] += [{'id': 1, 'name': '_background_'}, {'id': 99, 'name': '__ignore__'}]
    content['annotations'] += [{'image_id': 9, 'category_id': 1}, {'image_id': 9, 'category_id': 99}]
    content['categories'][0]['name'] = ' Ba\u0308r'
    instances = read_instances(write(tmp_path, content))
    assert coco_classes(instances) == ('cat', 'B\u00e4r')
    assert class_name(' Ba\u0308r\t') == 'B\u00e4r'
    content['categories'].append({'id': 100, 'name': 'B\u00e4r'})
    with pytest.raises(UserError, match='is listed twice'):
        read_instances(write(tmp_path, content))


def test_labels_by_brute_force(tmp_path):
    rng = np.random.default_rng(0)
    categories = [{'id': int(key), 'name': f'class {key}'} for key in rng.permutation(90)[:80]]
    images = [{'id': f'id{i}', 'file_name': f'{i:012d}.jpg'} for i in range(200)]
    annotations = [{'image_id': f'id{rng.integers(200)}', 'category_id': categories[rng.integers(80)]['id'],
                    'iscrowd': int(rng.random() < .1)} for _ in range(500)]
    labels = read_label_file(write(tmp_path, dict(images=images, annotations=annotations, categories=categories)))
    for image in images:
        expected = {category['name'] for category in categories for item in annotations
                    if item['image_id'] == image['id'] and item['category_id'] == category['id']}
        assert sorted(labels[image['file_name'][:-4]]) == sorted(expected)


def test_data_sets(make_folder, make_voc):
    root = make_folder(labels='a,cat\n')
    write(root, CONTENT)
    dataset = ImageLabelDataset(root, label_file='instances_train2017.json')
    # Nothing is annotated in c: it shows none of the classes.
    assert [dataset[i]['gt_img_label'].tolist() for i in range(3)] == [[0, 1], [1, 1], [0, 0]]
    dataset = ImageLabelDataset(root, label_file='instances_train2017.json', use_crowd=False)
    assert [dataset[i]['gt_img_label'].tolist() for i in range(2)] == [[0, 1], [0, 1]]
    content = copy.deepcopy(CONTENT)
    del content['images'][2]
    write(root, content)
    message = f'{root}/instances_train2017.json: no label for c.png'
    with pytest.raises(UserError, match=re.escape(message)):
        ImageLabelDataset(root, label_file='instances_train2017.json')
    # A crowd alone is neither a label nor none, where crowds are not counted.
    content = copy.deepcopy(CONTENT)
    content['annotations'].append(dict(id=9, image_id=content['images'][2]['id'], iscrowd=1,
                                       category_id=content['categories'][0]['id']))
    write(root, content)
    with pytest.raises(UserError, match=re.escape(message)):
        ImageLabelDataset(root, label_file='instances_train2017.json', use_crowd=False)

    voc = make_voc(count=1)
    content = copy.deepcopy(CONTENT)
    content['images'][1]['file_name'] = 'im_0.jpg'
    path = write(voc, content)
    for options, expected in ((dict(label_source=str(path)), [1, 1]),
                              (dict(label_source='instances_train2017.json', use_crowd=False), [0, 1])):
        assert VOCImageLabelDataset(voc, 'train', **options)[0]['gt_img_label'].tolist() == expected
    (voc / 'classes.txt').write_text('cat\ndoge\n')
    with pytest.raises(UserError, match=r"instances_train2017.json: image 'im_0': 'dog' is not in the class list "
                                        r"\(closest: 'doge'\)"):
        VOCImageLabelDataset(voc, 'train', label_source='instances_train2017.json')


def test_other_forms_are_still_understood(tmp_path):
    for labels in ({'images': ['cat'], 'annotations': ['dog']}, {'image_id': ['cat'], 'category_id': ['dog']},
                   {'images': []}):
        assert not is_instances(labels)
        assert read_label_file(write(tmp_path, labels, 'l.json')) == labels


def changed(**lists):
    content = copy.deepcopy(CONTENT)
    for name, items in lists.items():
        content[name] += items
    return content


def without(name):
    return {key: value for key, value in CONTENT.items() if key != name}


DAMAGED = [
    (without('categories'), "has no list 'categories'"), (without('annotations'), "has no list 'annotations'"),
    ({**CONTENT, 'annotations': {}}, "has no list 'annotations'"),
    (changed(categories=[{'id': 90, 'name': 'cow'}]), 'entry 3 of categories: the id 90 is there twice'),
    (changed(categories=[{'id': 91, 'name': 'dog'}]), "entry 3 of categories: category 'dog' is listed twice"),
    (changed(categories=[{'id': 91}]), 'entry 3 of categories: has no name'),
    (changed(categories=[{'name': 'cow'}]), 'entry 3 of categories: has no id'),
    (changed(categories=['cow']), 'entry 3 of categories: has no id'),
    (changed(images=[{'id': 9, 'file_name': 'd.png'}]), 'entry 4 of images: the id 9 is there twice'),
    (changed(images=[{'id': 10}]), 'entry 4 of images: has no file_name'),
    (changed(images=[{'id': [1], 'file_name': 'd.png'}]), 'entry 4 of images: has no id'),
    (changed(images=[3]), 'entry 4 of images: has no id'),
    (changed(images=[{'id': 10, 'file_name': 'x/b.png'}]), "image 'b' is listed twice with different labels"),
    (changed(annotations=[{'image_id': 1, 'category_id': 3}]), 'entry 5 of annotations: must have an image_id'),
    (changed(annotations=[{'image_id': 9, 'category_id': 4}]), "but is {'category_id': 4, 'image_id': 9}"),
    (changed(annotations=[{'image_id': 9}]), 'entry 5 of annotations'),
    (changed(annotations=[{'image_id': [9], 'category_id': 3}]), 'entry 5 of annotations'),
    (changed(annotations=[[]]), 'entry 5 of annotations'), (changed(annotations=['a' * 999]), 'entry 5 of annotations'),
    ({'images': [], 'annotations': [], 'categories': []}, 'there is no label in it'),
    (json.dumps(CONTENT)[:-40], 'not valid json')]


@pytest.mark.parametrize('content, message', DAMAGED)
def test_damaged_content_is_named_in_one_line(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_label_file(path)
    assert str(error.value).startswith(f'{path}: ') and message in str(error.value)
    assert '\n' not in str(error.value) and len(str(error.value)) < 600


def test_what_is_no_object(tmp_path):
    with pytest.raises(UserError, match="has no list 'images'"):
        read_instances(write(tmp_path, '[]'))
    with pytest.raises(UserError, match='not valid json'):
        read_instances(write(tmp_path, '{'))
