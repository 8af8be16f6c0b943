import pytest
from mmengine.config import Config

from mmwsss.config.config import load_config
from mmwsss.config.option_names import check_names, part_class
from mmwsss.experiments.pipeline.stages.test_segmentor import TestSegmentor
from mmwsss.models.backbones import ResNet38
from mmwsss.utils.errors import UserError


@pytest.fixture
def cfg(repo_root):
    return Config.fromfile(repo_root / 'configs/cam/cam_efflite0_small.py')


@pytest.mark.parametrize(('key', 'message'), [
    ('modle.backbone.x', "there is no setting 'modle' .closest: 'model'"),
    ('default_hooks.loger.interval', "default_hooks has no 'loger' .closest: 'logger'.; a new one needs "
                                     'default_hooks.loger.type=NAME too'),
    ('train_dataloader.dataste.split', "train_dataloader has no 'dataste' .closest: 'dataset'"),
    ('model.bakbone.frozen_stages', "model has no 'bakbone' .closest: 'backbone'"),
    ('model.backbone.init_cgf.checkpoint', "model.backbone has no 'init_cgf' .closest: 'init_cfg'"),
    ('env_cfg.cudnn_benchmrk', "env_cfg has no 'cudnn_benchmrk' .closest: 'cudnn_benchmark'"),
    ('auto_scale_lr.base_batchsize', "auto_scale_lr has no 'base_batchsize' .closest: 'base_batch_size'"),
    ('optim_wrapper.optimiser.lr', "optim_wrapper has no 'optimiser' .closest: 'optimizer'")])
def test_misspelt_parts(cfg, key, message):
    with pytest.raises(UserError, match=f'^--cfg-options {key}: {message}'):
        check_names(cfg, [key], ())


@pytest.mark.parametrize('keys', [
    ['default_hooks.logger.interval'], ['default_hooks.ema.momentum', 'default_hooks.ema.type'],
    ['optim_wrapper.clip_grad.max_norm'], ['optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult'],
    ['model.new.setting'], ['model.test_cfg.own'], ['randomness.deterministic'], ['param_scheduler.0.own'],
    ['custom_hooks.0.type'], ['data_root.x.y'], ['train_dataloader.prefetch_factor'], ['env_cfg.mp_cfg.own'],
    ['auto_scale_lr.enable']])
def test_new_settings_stay_possible(cfg, keys):
    check_names(cfg, keys, ('randomness', 'custom_hooks', 'auto_scale_lr', 'data_root'))


def test_what_a_class_takes_is_not_misspelt():
    cfg = dict(model=dict(type='CAMClassifier', backbones=dict(type='A')))
    check_names(cfg, ['model.backbone.depth'], ())


def test_classes_of_parts():
    assert part_class('ResNet38') is ResNet38 is part_class(ResNet38)
    assert part_class('Nowhere') is None
    assert part_class('test') is TestSegmentor  # Python has a module of this name


def test_options_of_a_config_are_checked(repo_root, generated_root):
    with pytest.raises(UserError, match="'loger'"):
        load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root,
                    {'default_hooks.loger.interval': 3})
