"""What a training and a test look at before they begin."""
import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models.backbones import ResNet

from mmwsss.apis import runner
from mmwsss.cli.main import main
from mmwsss.config.config import load_config
from mmwsss.engine.input_statistics import STYLES
from mmwsss.utils.errors import UserError


class Started(Exception):
    """Where the run would begin."""


@pytest.fixture
def warned(monkeypatch):
    """What was warned of as slow mixed precision."""
    def from_cfg(cfg):
        raise Started

    warned = []
    monkeypatch.setattr(runner.LoggedRunner, 'from_cfg', from_cfg)
    monkeypatch.setattr(runner, 'warn_of_slow_amp', warned.append)
    return warned


@pytest.mark.parametrize('amp', [True, False])
def test_slow_mixed_precision_is_said(tiny_cam_cfg, tmp_path, warned, amp):
    if amp:
        tiny_cam_cfg.optim_wrapper.type = 'AutocastOptimWrapper'
        tiny_cam_cfg.test_cfg.amp = 'bfloat16'
    with pytest.raises(Started):
        runner.train(tiny_cam_cfg, tmp_path)
    with pytest.raises(Started):
        runner.test(tiny_cam_cfg, 'epoch_1.pth', tmp_path)
    assert warned == ['--amp', '--amp'] * amp


def test_a_segmentor_is_not_trained_on_ground_truth_by_accident(repo_root, generated_root, tmp_path, warned):
    cfg = load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_root)
    with pytest.raises(UserError, match='--full-supervision'):
        runner.train(cfg, tmp_path)
    cfg.full_supervision = True
    with pytest.raises(Started):
        runner.train(cfg, tmp_path)


@pytest.mark.parametrize('look', [True, False])
def test_images_are_looked_at_before_a_training_and_a_test(tiny_cam_cfg, tmp_path, monkeypatch, look):
    """After the weights are there, and before anything is computed."""
    looked = []

    def check(model, dataset):
        looked.append((type(model).__name__, len(dataset)))
        raise UserError('weights of another style')

    def begin(*args, **kwargs):
        raise Started

    monkeypatch.setattr('mmwsss.engine.hooks.input_statistics_hook.check_input_statistics', check)
    monkeypatch.setattr(runner, 'check_input_statistics', check)
    monkeypatch.setattr('mmengine.runner.EpochBasedTrainLoop.run_epoch', begin)
    monkeypatch.setattr(runner.LoggedRunner, 'test', begin)
    monkeypatch.setattr(runner, 'load_for_inference', lambda model, checkpoint, classes: model)
    tiny_cam_cfg.check_input_statistics = look
    for run in (lambda: runner.train(tiny_cam_cfg, tmp_path / 'train'),
                lambda: runner.test(tiny_cam_cfg, 'epoch_1.pth', tmp_path / 'test')):
        with pytest.raises(UserError if look else Started):
            run()
    assert [name for name, _ in looked] == ['CAMClassifier'] * 2 * look


@pytest.fixture
def converted(tmp_path):
    """Files of ``mmwsss convert checkpoint`` for both orders of the channels, of one tiny ResNet50 in caffe style."""
    torch.save(ResNet(depth=50, style='caffe', base_channels=1, stem_channels=1).state_dict(), tmp_path / 'source.pth')
    files = {}
    for order in ('rgb', 'bgr'):
        files[order] = tmp_path / f'{order}.pth'
        with pytest.raises(SystemExit) as stop:
            main(['convert', 'checkpoint', '--source', 'resnet50_caffe', '--channels', order,
                  str(tmp_path / 'source.pth'), str(files[order])])
        assert stop.value.code == 0
    return files


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_converted_weights_for_the_other_order_of_channels(tiny_cam_cfg, tmp_path, monkeypatch, converted, order):
    """They are refused when they are loaded, before the first iteration, and fit once the config is mended."""
    def begin(*args, **kwargs):
        raise Started

    def training(file):
        runner.train(cfg, tmp_path / f'work_{file}')

    monkeypatch.setattr('mmengine.runner.EpochBasedTrainLoop.run_epoch', begin)
    other = 'bgr' if order == 'rgb' else 'rgb'
    cfg, mean = copy.deepcopy(tiny_cam_cfg), STYLES['caffe'][0].mean
    cfg.model.backbone = ConfigDict(type='ResNet', depth=50, style='caffe', base_channels=1, stem_channels=1,
                                    init_cfg=dict(type='StrictPretrained', checkpoint=str(converted[other])))
    cfg.model.cam_head.in_channels = 32
    cfg.model.data_preprocessor.update(mean=list(mean if order == 'bgr' else mean[::-1]), std=[1., 1., 1.],
                                       bgr_to_rgb=order == 'rgb')
    cfg.check_input_statistics = False  # it is no matter of what the images look like
    with pytest.raises(UserError, match=rf'backbone has the weights of .*{other}\.pth, which are for {other.upper()} '
                                        rf'images; set mean=.*, bgr_to_rgb={other == "rgb"}') as error:
        training(other)
    assert '\n' not in str(error.value)
    cfg.load_from = str(converted[other])  # replaces these weights, as far as it fits
    with pytest.raises(Started):
        training(other)
    cfg.load_from, cfg.model.backbone.init_cfg.checkpoint = None, str(converted[order])
    with pytest.raises(Started):
        training(order)
