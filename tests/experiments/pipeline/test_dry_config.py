import pytest
from mmengine.config import Config

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.pipeline.dry_config import choose_images, make_dry


@pytest.fixture
def voc_config(repo_root):
    return lambda path: Config.fromfile(repo_root / 'configs' / path)


def test_a_training_becomes_one_iteration(voc_config):
    cfg = voc_config('rcm_mam/rcm_mam_r38_voc.py')
    make_dry(cfg)
    assert cfg.train_cfg.max_epochs == 1 and cfg.train_dataloader.batch_size == 2
    assert cfg.optim_wrapper.optimizer.lr == 0 and 'momentum' not in cfg.optim_wrapper.optimizer  # as large as weights
    assert cfg.train_dataloader.num_workers == cfg.test_dataloader.num_workers == 0
    begins = [hook.begin for hook in cfg.custom_hooks if hook.type == 'LossWeightScheduleHook']
    assert begins == [0]  # MAM's loss counts in the only iteration
    assert cfg.model.data_preprocessor.size == (192, 192)
    assert cfg.test_cfg.max_side == 1024


def test_sizes_shrink_together(voc_config):
    cfg = voc_config('irnet/irnet_r50_voc.py')
    make_dry(cfg, side=128)  # a quarter of 512
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    crop = next(step for step in steps.values() if 'crop_size' in step)
    assert crop.crop_size == (128, 128)
    assert steps['RandomResizeLong'].long_side == (62, 188)
    assert cfg.model.data_preprocessor.size == (128, 128)
    assert cfg.test_cfg.max_side == 128
    small = voc_config('cam/cam_efflite0_small.py')
    before = small.train_dataloader.dataset.pipeline
    make_dry(small, side=256)  # larger than its crops
    assert small.train_dataloader.dataset.pipeline == before


def test_weights_that_are_there_are_kept(voc_config, tmp_path):
    cfg = voc_config('segmentation/deeplab_v2_r101_voc.py')
    assert '://' in cfg.model.backbone.init_cfg.checkpoint
    assert make_dry(cfg) == ['open-mmlab://detectron2/resnet101_caffe']  # nothing is downloaded
    assert cfg.model.backbone.init_cfg.type == 'Xavier' and 'checkpoint' not in cfg.model.backbone.init_cfg

    weights = tmp_path / 'weights.pth'
    weights.write_bytes(b'')
    cfg = voc_config('segmentation/deeplab_largefov_r38_voc.py')
    cfg.load_from = str(tmp_path / 'gone.pth')
    cfg.model.backbone.init_cfg.checkpoint = str(weights)
    assert make_dry(cfg) == [str(tmp_path / 'gone.pth')]
    assert cfg.load_from is None and cfg.model.backbone.init_cfg.checkpoint == str(weights)


def test_frozen_stages_without_weights_are_random_ones(voc_config):
    cfg = voc_config('cam/cam_r50_voc.py')
    assert cfg.model.backbone.frozen_stages == 2 and not cfg.model.backbone.get('init_cfg')
    assert make_dry(cfg) == ['model.backbone.init_cfg']
    assert cfg.model.backbone.init_cfg.type == 'Xavier'


def test_splits_share_images(generated_copy, tmp_path):
    stems = (generated_copy / 'ImageSets/train.txt').read_text().split()
    (generated_copy / 'ImageSets/train_aug.txt').write_text('\n'.join(stems))
    (generated_copy / 'ImageSets/train.txt').write_text('\n'.join(stems[5:9]))
    (generated_copy / f'JPEGImages/{stems[5]}.jpg').unlink()
    data = DataFolder.find(generated_copy)
    lists = choose_images(data, ['train_aug', 'val', 'train', 'nowhere'], tmp_path / 'lists')
    read = {split: data.stems(path) for split, path in lists.items()}
    assert read['train'] == read['train_aug'] == stems[6:8]
    assert read['val'] == data.stems('val')[:2] and set(lists) == {'train', 'train_aug', 'val'}
