import pytest

from mmwsss.config.config import load_config
from mmwsss.config.supervision import check_supervision
from mmwsss.utils.errors import UserError


@pytest.fixture
def segmentor(repo_root, generated_root):
    return load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_root)


def test_ground_truth_must_be_asked_for(segmentor, generated_root):
    with pytest.raises(UserError, match=f'{generated_root}/SegmentationClass: are the ground.*--labels.*--full-s'):
        check_supervision(segmentor)
    segmentor.full_supervision = True
    check_supervision(segmentor)


def test_pseudo_labels_are_no_ground_truth(segmentor, tmp_path, generated_root):
    segmentor.train_dataloader.dataset.seg_dir = str(tmp_path)
    check_supervision(segmentor)
    # Nor is the folder of the test data, wherever it is.
    segmentor.test_dataloader.dataset.seg_dir = str(tmp_path / '..' / tmp_path.name)
    with pytest.raises(UserError, match='ground truth'):
        check_supervision(segmentor)


def test_in_a_wrapper(segmentor):
    inner = segmentor.train_dataloader.dataset
    segmentor.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    with pytest.raises(UserError, match='ground truth'):
        check_supervision(segmentor)


def test_other_trainings_have_no_masks(repo_root, generated_root):
    check_supervision(load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root))
