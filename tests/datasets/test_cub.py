import numpy as np
import pytest
from localization_data import make_cub

from mmwsss.datasets import CUBDataset
from mmwsss.utils.errors import UserError


def test_splits_boxes_and_classes(tmp_path):
    root = make_cub(tmp_path)
    train, test = CUBDataset(root, 'train'), CUBDataset(root, 'test')
    assert train.metainfo['classes'] == ('001.Bird_0', '002.Bird_1', '003.Bird_2')
    assert [info['stem'] for info in train] == ['Bird_0_0000', 'Bird_1_0001', 'Bird_2_0002', 'Bird_1_0004',
                                                'Bird_2_0005']
    assert [info['stem'] for info in test] == ['Bird_0_0003']
    info = train[3]
    assert info['gt_class'] == 1 and info['gt_img_label'].tolist() == [0, 1, 0] and train.get_cat_ids(3) == [1]
    assert info['gt_boxes'].dtype == np.float32 and info['gt_boxes'].tolist() == [[2, 3, 11, 7]]  # x, y, w, h: 2 3 9 4


def test_list_of_held_out_images(tmp_path):
    root = make_cub(tmp_path)
    (root / 'held_out.txt').write_text('001.Bird_0/Bird_0_0003.jpg\n')
    assert [info['stem'] for info in CUBDataset(root, 'held_out.txt')] == ['Bird_0_0003']
    with pytest.raises(UserError, match=r'is one of train, test or a \.txt list'):
        CUBDataset(root, 'val')
    with pytest.raises(UserError, match='leave it out'):
        CUBDataset(root, classes=['a'])


def test_damaged_lists(tmp_path):
    root = make_cub(tmp_path)
    boxes = (root / 'bounding_boxes.txt').read_text()
    for content, message in ((boxes.replace('1 2.0 3.0 5.0 4.0', '1 2.0 3.0 5.0'), 'line 1 must be a number'),
                             (boxes.replace('1 2.0', '1 x'), 'line 1 must be a number'),
                             (boxes.replace('1 2.0 3.0 5.0 4.0', '1 2.0 3.0 0.0 4.0'), 'image 1: .* is no box'),
                             (boxes.replace('1 2.0 3.0 5.0 4.0\n', ''), 'image 1 is not in the other lists')):
        (root / 'bounding_boxes.txt').write_text(content)
        with pytest.raises(UserError, match=message):
            CUBDataset(root)
