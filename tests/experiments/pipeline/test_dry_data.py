"""Dry runs without data have a folder like that of a real run."""
from xml.etree import ElementTree

import pytest

from mmwsss.datasets.label_sources import read_mask_labels
from mmwsss.datasets.voc import VOCImageLabelDataset
from mmwsss.datasets.voc_devkit import VOC_CLASSES
from mmwsss.experiments.pipeline import dry_run
from mmwsss.experiments.pipeline.dry_data import are_of_voc, make_dry_data
from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig, splits_of

SPLIT_NAMES = ['train_aug', 'train', 'val', 'test']


def test_made_data_have_what_stages_read(tmp_path):
    data = make_dry_data(tmp_path / 'data', SPLIT_NAMES, size=64)
    assert len(data.image_paths()) == len(data.mask_paths()) == len(data.saliency_paths()) == 4
    assert len(data.classes) == 20
    assert data.stems('train_aug') == data.stems('train') != data.stems('val') == data.stems('test')


def test_made_voc_is_one_as_it_is_distributed(tmp_path):
    """Labels are in the annotations, lists in ImageSets/Segmentation, one of them under mmsegmentation's name."""
    data = make_dry_data(tmp_path, SPLIT_NAMES, size=64)
    assert data.classes == VOC_CLASSES and data.labels() == data.root / 'Annotations'
    assert (data.root / 'JPEGImages').is_symlink()  # as `mmwsss convert voc` leaves it
    assert not list(data.root.glob('*.json')) and not list((data.root / 'ImageSets').glob('*.txt'))
    assert sorted(path.name for path in (data.root / 'ImageSets/Segmentation').iterdir()) == [
        'test.txt', 'train.txt', 'trainaug.txt', 'val.txt']
    dataset = VOCImageLabelDataset(data.root, 'train_aug')
    for index, stem in enumerate(data.stems('train_aug')):
        shown = read_mask_labels(data.mask_path(stem), 20)
        assert shown and dataset[index]['gt_img_label'].nonzero()[0].tolist() == shown
        objects = ElementTree.parse(data.root / f'Annotations/{stem}.xml').iter('object')
        names = [item.findtext('name') for item in objects]
        assert names == [VOC_CLASSES[i] for i in shown]


def test_classes_of_the_pipeline(tmp_path):
    data = make_dry_data(tmp_path, ['trainaug'], ['cat', 'dog'], size=64)
    labels = data.image_labels(data.stems('trainaug'))
    assert labels and {name for names in labels.values() for name in names} <= {'cat', 'dog'}


def test_pipelines_for_voc_are_known_by_their_splits(repo_root):
    paths = sorted((repo_root / 'configs/pipelines').glob('*_r*.py'))
    found = {path.stem for path in paths if are_of_voc(splits_of(PipelineConfig(path)))}
    assert found == {path.stem for path in paths if path.stem.endswith('_voc')}


@pytest.mark.parametrize('split', ['train_aug', 'train'])
def test_a_dry_run_reads_such_a_folder(tiny_pipeline, tmp_path, split):
    """A training and the evaluation of its CAMs, which meet labels, lists and masks; one of VOC, one of other data."""
    (tmp_path / 'dry.py').write_text(f"""
configs = dict(cam={str(tiny_pipeline.parent / 'cam.py')!r})
stages = dict(
    classifier=dict(type='train', config='cam', split={split!r}),
    cam=dict(type='make_cam', config='cam', split='val', inputs=dict(checkpoint='classifier')),
    eval_cam=dict(type='eval_cam', split='val', inputs=dict(cams='cam')),
    broken=dict(type='train', config='cam', split='train', cfg_options={{'model.cam_head.in_channels': 7}}))
""")
    rows = dry_run(tmp_path / 'dry.py', work_dir=tmp_path / 'work', side=64)
    assert [row.works for row in rows] == [True, True, True, False]  # the last one, so that the data stay to be seen
    data = tmp_path / 'work/dry_run/data'
    assert (data / 'VOC2012/Annotations').is_dir() == (split == 'train_aug')
    assert (data / 'labels.json').is_file() == (split == 'train')
