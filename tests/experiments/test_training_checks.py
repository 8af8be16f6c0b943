"""What a pipeline or a study finds out before its first stage runs."""
import copy
import logging

import pytest
from mmengine.config import Config

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments import training_checks
from mmwsss.experiments.training_checks import check_masks, check_saliency, check_training
from mmwsss.utils.errors import UserError


@pytest.fixture
def processes(monkeypatch):
    def set_number(number):
        for module in ('mmwsss.apis.runner', 'mmwsss.experiments.training_checks'):
            monkeypatch.setattr(f'{module}.get_world_size', lambda: number)

    monkeypatch.setattr(training_checks, 'check_weights', lambda cfg: None)
    return set_number


def test_the_batch_is_shared_by_the_processes(tiny_cam_cfg, generated_root, processes):
    data = DataFolder.find(generated_root)
    count = len(data.stems('train'))
    tiny_cam_cfg.train_dataloader.batch_size = batch = 2 * (count // 2)  # one step for one process or two
    for number in (1, 2):
        processes(number)
        check_training(tiny_cam_cfg, data, 'train')
        assert tiny_cam_cfg.train_dataloader.batch_size == batch
    processes(2)
    tiny_cam_cfg.auto_scale_lr.enable = True  # so many for each of the two
    with pytest.raises(UserError, match='less than one batch'):
        check_training(tiny_cam_cfg, data, 'train')


def test_a_batch_that_cannot_be_shared_is_found(tiny_cam_cfg, generated_root, processes):
    processes(4)
    tiny_cam_cfg.train_dataloader.batch_size = 10
    with pytest.raises(UserError, match='batch_size=10: is the total, which 4 processes cannot share'):
        check_training(tiny_cam_cfg, DataFolder.find(generated_root), 'train')


@pytest.fixture
def warned(monkeypatch):
    """Returns the warnings since the last call."""
    found = []

    def print_log(message, logger, level):
        assert level == logging.WARNING
        found.append(message)

    monkeypatch.setattr(training_checks, 'print_log', print_log)
    return lambda: [found.pop() for _ in range(len(found))]


def test_images_without_saliency_map_are_counted(generated_copy, warned):
    data = DataFolder.find(generated_copy)
    check_saliency(data, 'train')
    assert warned() == []
    for stem in ('train_00002', 'train_00005'):
        (generated_copy / f'Saliency/{stem}.png').unlink()
    check_saliency(data, 'train')
    message, = warned()
    assert message.startswith(f'{generated_copy}/Saliency: 2 of 12 images of split train have no saliency map and will '
                              'be left out, e.g. train_00002')
    for path in (generated_copy / 'Saliency').glob('train_*'):
        path.unlink()
    with pytest.raises(UserError, match='has no saliency map of split train'):
        check_saliency(data, 'train')
    check_saliency(data, 'val')


def test_a_training_says_how_many_images_have_no_saliency_map(tiny_cam_cfg, generated_copy, warned):
    (generated_copy / 'Saliency/train_00007.png').unlink()
    cfg = copy.deepcopy(tiny_cam_cfg)
    cfg.train_dataloader.dataset.data_root = str(generated_copy)
    check_training(cfg, DataFolder.find(generated_copy), 'train')
    assert warned() == []
    cfg.train_dataloader.dataset.require_saliency = True
    check_training(cfg, DataFolder.find(generated_copy), 'train')
    message, = warned()
    assert '1 of 12 images' in message and 'train_00007' in message


@pytest.fixture
def seg_cfg(repo_root, generated_copy):
    """A training of a segmentor on the masks of the data."""
    from mmwsss.config.config import load_config
    return load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_copy, {
        'model.backbone.init_cfg': None, 'model.backbone.frozen_stages': 0, 'model.backbone.norm_frozen': False,
        'train_dataloader.batch_size': 4})


@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader'])
def test_one_missing_mask_is_named(seg_cfg, generated_copy, loader):
    """Of the images that are trained on, and of those of a validation during the training."""
    if loader == 'val_dataloader':
        seg_cfg.val_dataloader, seg_cfg.val_cfg = copy.deepcopy(seg_cfg.test_dataloader), dict(type='ValLoop')
    seg_cfg.train_dataloader.dataset.missing_mask = 'error'
    data = DataFolder.find(generated_copy)
    check_training(seg_cfg, data, 'train')
    stem = 'train_00003' if loader == 'train_dataloader' else 'val_00001'
    (generated_copy / f'SegmentationClass/{stem}.png').unlink()
    with pytest.raises(UserError, match=rf"SegmentationClass: no mask for {stem}; .*missing_mask='skip'"):
        check_training(seg_cfg, data, 'train')
    seg_cfg[loader].dataset.missing_mask = 'skip'
    check_training(seg_cfg, data, 'train')


def test_masks_that_nobody_needs(tiny_cam_cfg, seg_cfg, generated_copy):
    (generated_copy / 'SegmentationClass/val_00000.png').unlink()
    (generated_copy / 'JPEGImages/val_00001.jpg').unlink()  # an image that is missing needs none
    (generated_copy / 'SegmentationClass/val_00001.png').unlink()
    dataset = seg_cfg.test_dataloader.dataset
    with pytest.raises(UserError, match='no mask for val_00000; '):
        check_masks(dataset, 'val')
    check_masks(dataset, 'train')
    check_masks(Config(dict(dataset, missing_mask='none')), 'val')
    check_masks(tiny_cam_cfg.test_dataloader.dataset, 'val')  # of image-level labels
