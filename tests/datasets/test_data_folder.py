import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mmwsss.datasets import DataFolder
from mmwsss.registry import DATASETS
from mmwsss.structures.label_file import write_label
from mmwsss.utils.errors import UserError

COCO = dict(images=[dict(id=i, file_name=f'{stem}.png') for i, stem in enumerate('abc')],
            annotations=[dict(image_id=i, category_id=k) for i, k in ((0, 7), (1, 3), (2, 3))],
            categories=[dict(id=7, name='dog'), dict(id=3, name='cat')])
CAM = dict(type='VOCImageLabelDataset', data_root='elsewhere', split='train', pipeline=[])
SEG = dict(type='VOCSegDataset', data_root='elsewhere', split='train', pipeline=[])


def build(folder, config, **changes):
    dataset = DATASETS.build(folder.dataset_config(dict(config, **changes)))
    return dataset, [dataset.get_data_info(i) for i in range(len(dataset))]


def test_images_in_sub_folders_are_those_of_the_data_set(make_voc):
    root = make_voc()
    (root / 'JPEGImages/sub').mkdir()
    (root / 'JPEGImages/im_1.jpg').rename(root / 'JPEGImages/sub/im_1.jpg')
    folder = DataFolder.find(root)
    for config in (CAM, SEG):
        dataset, infos = build(folder, config, split=None)
        assert sorted(info['stem'] for info in infos) == folder.stems(None) and not dataset.skipped


def test_voc_layout_is_found(make_voc):
    root = make_voc()
    folder = DataFolder.find(root)
    assert (folder.layout, folder.img_dir, folder.mask_dir) == ('voc', 'JPEGImages', 'SegmentationClass')
    assert folder.classes == ('cat', 'dog') and folder.has_classes and folder.splits() == ['train']
    assert folder.stems('train') == folder.stems(None) == list(folder.image_paths()) == [f'im_{i}' for i in range(4)]
    assert folder.mask_path('im_1') == root / 'SegmentationClass/im_1.png' and folder.has_masks('train')
    assert folder.mask_path('gone') == root / 'SegmentationClass/gone.png'
    assert folder.describe() == (f'{root}: VOC layout, 4 images in JPEGImages, 4 masks, labels from labels.json, '
                                 'splits train')
    (root / 'labels.json').unlink()
    assert folder.labels() == root / 'SegmentationClass'
    (root / 'Annotations').mkdir()
    assert folder.labels() == root / 'Annotations'


@pytest.mark.parametrize('labels', ['labels.csv', 'labels.txt', 'labels.json', 'instances_x.json',
                                    'annotations/instances_x.json'])
@pytest.mark.parametrize('images', ['images', 'photographs'])
def test_folder_of_images_is_found(make_folder, labels, images):
    root = make_folder()
    (root / 'labels.csv').unlink()
    (root / 'images').rename(root / images)
    (root / labels).parent.mkdir(exist_ok=True)
    text = {'.csv': 'a,cat\nb,dog\nc,cat\n', '.txt': 'a cat\nb dog\nc cat\n'}.get(
        Path(labels).suffix, json.dumps(COCO if 'instances' in labels else dict(a=['cat'], b=['dog'], c=['cat'])))
    (root / labels).write_text(text)
    folder = DataFolder.find(root)
    assert (folder.layout, folder.img_dir, folder.mask_dir) == ('folder', images, 'masks')
    assert folder.labels() == root / labels and folder.stems(None) == ['a', 'b', 'c'] and not folder.has_masks(None)
    dataset, infos = build(folder, CAM, split=None)
    assert type(dataset).__name__ == 'ImageLabelDataset' and dataset.metainfo['classes'] == ('cat', 'dog')
    assert [info['img_path'] for info in infos] == [f'{root}/{images}/{stem}.png' for stem in 'abc']
    if 'instances' not in labels:
        assert [info['gt_img_label'].tolist() for info in infos] == [[1, 0], [0, 1], [1, 0]]


def test_coco_json_names_the_classes(make_folder):
    root = make_folder()
    for name in ('classes.txt', 'labels.csv'):
        (root / name).unlink()
    (root / 'instances.json').write_text(json.dumps(COCO))
    folder = DataFolder.find(root)
    assert folder.classes == ('cat', 'dog')  # by id, not by place
    _, infos = build(folder, CAM, split=None)
    assert [info['gt_img_label'].tolist() for info in infos] == [[0, 1], [1, 0], [1, 0]]
    (root / 'instances.json').rename(root / 'own.json')
    said = DataFolder.find(root, label_file='own.json')
    assert said.classes == ('cat', 'dog') and build(said, SEG, missing_mask='none', split=None)[0].metainfo[
        'classes'] == ('background', 'cat', 'dog')
    with pytest.raises(UserError, match=r'classes\.txt: no such file'):
        _ = DataFolder.find(root).classes


def test_what_is_said_goes_before_what_is_found(make_voc, make_folder, tmp_path):
    root = make_voc()
    (root / 'own.csv').write_text('im_0,b\nim_1,a\nim_2,a\nim_3,b\n')
    folder = DataFolder.find(root, label_file='own.csv', classes=['a', 'b'], mask_dir=tmp_path / 'nowhere',
                             missing_label='skip')
    assert folder.layout == 'voc' and folder.classes == ('a', 'b') and not folder.has_masks('train')
    dataset, infos = build(folder, CAM)
    assert [info['gt_img_label'].tolist() for info in infos] == [[0, 1], [1, 0], [1, 0], [0, 1]]
    assert dataset.missing_label == 'skip' and {info['seg_map_path'] for info in infos} == {None}
    again = DataFolder.find(folder, classes=['b', 'a'])
    assert again.classes == ('b', 'a') and again.mask_dir == folder.mask_dir and folder.classes == ('a', 'b')
    assert DataFolder.find(make_folder(), 'voc').layout == 'voc'


def test_config_of_one_layout_on_the_other(make_voc, make_folder):
    own = dict(type='ImageLabelDataset', data_root='x', label_file='labels.csv', mask_dir='masks', pipeline=[])
    dataset, infos = build(DataFolder.find(make_voc()), own, split='train')
    assert type(dataset).__name__ == 'VOCImageLabelDataset'
    assert [info['gt_img_label'].tolist() for info in infos] == [[1, 0], [0, 1]] * 2
    root = make_folder()
    for stem in 'abc':
        write_label(root / f'masks/{stem}.png', np.zeros((10 + ord(stem) - ord('a'), 16), np.uint8))
    (root / 'images/sub').mkdir()
    (root / 'images/c.png').rename(root / 'images/sub/c.png')
    dataset, infos = build(DataFolder.find(root), SEG, split=None)
    assert [info['seg_map_path'] for info in infos] == [f'{root}/masks/{stem}.png' for stem in 'abc']
    assert infos[2]['img_path'] == f'{root}/images/sub/c.png'


def test_names_that_a_config_has_chosen_stay(make_voc, make_folder, tmp_path):
    folder = DataFolder.find(make_voc())
    fitted = folder.dataset_config(dict(SEG, seg_dir='/pseudo labels', img_dir='photographs'))
    assert (fitted['seg_dir'], fitted['img_dir'], fitted['data_root']) == (
        '/pseudo labels', 'photographs', str(folder.root))
    assert folder.dataset_config(dict(CAM, label_source='xml', use_difficult=False)) == dict(
        CAM, data_root=str(folder.root), label_source='xml', use_difficult=False, img_dir='JPEGImages',
        mask_dir='SegmentationClass', saliency_dir='Saliency', ann_dir='Annotations', recursive=True)
    said = DataFolder.find(folder, mask_dir='own masks')
    assert said.dataset_config(dict(SEG, seg_dir='/pseudo labels'))['seg_dir'] == 'own masks'
    root = make_folder()
    (root / 'labels.txt').write_text('a dog\n')
    with pytest.raises(UserError, match=r'several files that may hold the labels, labels\.csv, labels\.txt'):
        DataFolder.find(root).labels()
    fitted = DataFolder.find(root).dataset_config(dict(type='ImageLabelDataset', data_root='', label_file='labels.txt'))
    assert fitted['label_file'] == 'labels.txt'


def test_wrapped_and_foreign_data_sets(make_voc):
    folder = DataFolder.find(make_voc())
    wrapped = folder.dataset_config(dict(type='RepeatDataset', times=2, dataset=CAM))
    assert wrapped['dataset']['data_root'] == str(folder.root) and CAM['data_root'] == 'elsewhere'
    both = folder.dataset_config(dict(type='ConcatDataset', datasets=[CAM, SEG]))
    assert [part['data_root'] for part in both['datasets']] == [str(folder.root)] * 2
    foreign = dict(type='ADE20KDataset', data_root='elsewhere')
    assert folder.dataset_config(foreign) == foreign


@pytest.mark.parametrize('config', [CAM, SEG, dict(CAM, label_source='xml'), dict(CAM, label_source='own.csv')])
def test_data_of_a_config_and_back(make_voc, config):
    root = make_voc()
    (root / 'own.csv').write_text('im_0,b\n')
    folder = DataFolder.of_dataset(dict(type='RepeatDataset', dataset=dict(config, data_root=str(root))))
    assert folder.layout == 'voc' and folder.root == root
    assert folder.labels() == root / {'xml': 'Annotations', 'own.csv': 'own.csv'}.get(
        config.get('label_source'), 'labels.json')
    fitted = folder.dataset_config(config)
    assert folder.dataset_config(fitted) == fitted and DataFolder.of_dataset(fitted).labels() == folder.labels()


def test_output_goes_elsewhere(make_folder, tmp_path):
    folder = DataFolder.find(make_folder(), mask_dir=tmp_path / 'own masks')
    for out in (folder.root / 'images/sub', tmp_path / 'own masks', folder.root / 'Saliency'):
        with pytest.raises(UserError, match='is a folder of the data set'):
            folder.check_output_dir(out)
    folder.check_output_dir(folder.root / 'labels')


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match='nowhere: no such folder; name that of the data set'):
        DataFolder.find(tmp_path / 'nowhere')
    with pytest.raises(UserError, match='layout: must be one of voc, folder'):
        DataFolder.find(tmp_path, 'coco')
    with pytest.raises(ValueError, match='what must be of'):
        DataFolder.find(tmp_path).fingerprint([], ['pictures'])
    with pytest.raises(UserError, match='there are no images'):
        DataFolder.find(tmp_path).stems(None)


@pytest.mark.parametrize(('changed', 'part'), [
    ('JPEGImages/im_1.jpg', 'images'), ('labels.json', 'labels'), ('SegmentationClass/im_1.png', 'masks'),
    ('Saliency/im_1.png', 'saliency'), ('JPEGImages/im_3.jpg', None)])
def test_fingerprint_follows_the_content_of_what_is_read(make_voc, tmp_path, changed, part):
    folder = DataFolder.find(make_voc())
    (folder.root / 'Saliency').mkdir()
    (folder.root / 'Saliency/im_1.png').write_bytes(b'x')

    def digests(folder):
        return {name: folder.fingerprint(['im_0', 'im_1'], [name])
                for name in ('images', 'labels', 'masks', 'saliency')}

    before = digests(folder)
    assert before == digests(DataFolder.find(shutil.copytree(folder.root, tmp_path / 'copy')))
    path = folder.root / changed
    path.touch()
    assert digests(folder) == before
    path.write_bytes(path.read_bytes() + b' ')
    assert {name for name, digest in digests(folder).items() if digest != before[name]} == ({part} - {None})
    assert folder.fingerprint(['im_1', 'im_0'], ['images']) != folder.fingerprint(['im_0', 'im_1'], ['images'])


def test_fingerprint_of_labels_without_a_file(make_voc):
    folder = DataFolder.find(make_voc(labels=False))
    before = folder.fingerprint(['im_0'], ['labels'])
    for stem, matters in (('im_1', False), ('im_0', True)):
        write_label(folder.mask_path(stem), np.full((10, 16), 2, np.uint8))
        assert (folder.fingerprint(['im_0'], ['labels']) != before) == matters


def test_stems_with_image(generated_copy):
    data = DataFolder.find(generated_copy)
    stems = data.stems('train')
    assert data.stems_with_image('train') == stems
    next((generated_copy / 'JPEGImages').glob(f'{stems[1]}.*')).unlink()
    assert data.stems('train') == stems
    assert data.stems_with_image('train') == [stem for stem in stems if stem != stems[1]]
