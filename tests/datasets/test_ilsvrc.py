import pytest
from localization_data import make_ilsvrc

from mmwsss.config.config import num_classes
from mmwsss.datasets import ILSVRCLocalization
from mmwsss.utils.errors import UserError


def test_train_needs_no_boxes(tmp_path):
    dataset = ILSVRCLocalization(make_ilsvrc(tmp_path), 'train')
    assert dataset.metainfo['classes'] == ('n01', 'n02') and len(dataset) == 4
    assert [info['gt_class'] for info in dataset] == [0, 0, 1, 1] and dataset[0]['gt_boxes'].shape == (0, 4)


def test_val_has_several_boxes(tmp_path):
    dataset = ILSVRCLocalization(make_ilsvrc(tmp_path), 'val')
    assert dataset[0]['gt_boxes'].tolist() == [[1, 2, 8, 9]] and dataset[0]['gt_img_label'].tolist() == [1, 0]
    assert dataset[1]['gt_boxes'].tolist() == [[1, 2, 8, 9], [2, 2, 8, 10]] and dataset[1]['gt_class'] == 1
    (tmp_path / 'held_out.txt').write_text('val_1\n')
    assert [info['stem'] for info in ILSVRCLocalization(tmp_path, 'held_out.txt')] == ['val_1']


def test_a_thousand_classes(tmp_path):
    from mmengine.config import Config
    root = make_ilsvrc(tmp_path, tuple(f'n{i:04d}' for i in range(300)))
    dataset = ILSVRCLocalization(root, 'val')
    assert dataset[299]['gt_img_label'].shape == (300,) and dataset[299]['gt_class'] == 299
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='ILSVRCLocalization', data_root=str(root)))))
    assert num_classes(cfg) == 300


def test_one_damaged_annotation_loses_one_image(tmp_path):
    root = make_ilsvrc(tmp_path)
    (root / 'Annotations/CLS-LOC/val/val_0.xml').write_text('<annotation></annotation>')
    dataset = ILSVRCLocalization(root, 'val')
    assert len(dataset) == 1 and 'has objects of 0 classes' in dataset.skipped[0][1]
    dataset = ILSVRCLocalization(root, 'train', classes=['n02'])
    assert [info['gt_class'] for info in dataset] == [0, 0] and len(dataset.skipped) == 2
    with pytest.raises(UserError, match=r'is train, val or a \.txt list'):
        ILSVRCLocalization(root, 'test')
