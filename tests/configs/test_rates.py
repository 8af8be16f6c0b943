"""Learning rates of the small configs: what the first steps do to the loss."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmwsss.registry import MODELS, PARAM_SCHEDULERS

NAMES = ['deeplab_efflite0_small', 'deeplab_v2_efflite0_small', 'deeplab_efflite0_folder', 'deeplab_efflite0_generated']
SIZE, CLASSES, STEPS = (64, 64), 4, 6


def first_losses(cfg, lr=None):
    """Trains a few steps on four images of noise and blocks of labels, which any network can learn by heart."""
    torch.manual_seed(0)
    cfg.model.decode_head.num_classes = CLASSES
    cfg.model.data_preprocessor.size = SIZE
    cfg.optim_wrapper.optimizer.lr = lr or cfg.optim_wrapper.optimizer.lr
    with DefaultScope.overwrite_default_scope('mmwsss'):
        model = MODELS.build(cfg.model)
        model.init_weights()
        model.train()
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    images = (torch.randn(4, 3, *SIZE) * 60 + 127).clamp(0, 255)
    labels = F.interpolate(torch.randint(CLASSES, (4, 1, 4, 4)).float(), SIZE).long()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=SIZE, ori_shape=SIZE))
               for label in labels]
    return [model.train_step(dict(inputs=list(images.clone()), data_samples=samples), optim_wrapper)['loss'].item()
            for _ in range(STEPS)]


@pytest.mark.parametrize('name', NAMES)
def test_no_step_overshoots(repo_root, name):
    losses = first_losses(Config.fromfile(repo_root / f'configs/segmentation/{name}.py'))
    assert max(losses) < 1.1 * losses[0] and losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize('name', ['deeplab_efflite0_small', 'deeplab_efflite0_small_saliency',
                                  'deeplab_efflite0_folder', 'deeplab_r50_small'])
def test_rate_rises_over_the_first_epoch_and_falls_from_then_on(repo_root, name):
    cfg, batches = Config.fromfile(repo_root / f'configs/segmentation/{name}.py'), 20
    rate, total = cfg.optim_wrapper.optimizer.lr, batches * cfg.train_cfg.max_epochs
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=rate)
    schedulers = [PARAM_SCHEDULERS.build(dict(config, end=end), default_args=dict(
        optimizer=optimizer, epoch_length=batches)) for config, end in zip(
            cfg.param_scheduler, (1, cfg.train_cfg.max_epochs))]
    for step in range(total - 1):
        warm = min(1, 0.1 + 0.9 * step / (batches - 1))
        assert optimizer.param_groups[0]['lr'] == pytest.approx(rate * warm * (1 - step / (total - 1)) ** 0.9, rel=0.02)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


def test_rate_of_a_head_with_norm_is_too_high_for_one_without(repo_root):
    """DeepLabV2's scores are sums of features without a norm in between; on photographs the loss grows to thousands."""
    cfg = Config.fromfile(repo_root / 'configs/segmentation/deeplab_v2_efflite0_small.py')
    assert max(first_losses(cfg, lr=0.005)) > 1.5
