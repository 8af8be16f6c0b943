import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmwsss.apis.cam_files import make_cam
from mmwsss.apis.runner import check_pretrained, load_for_inference, share_batch, train
from mmwsss.apis.runner import test as run_test
from mmwsss.engine.checkpoint import find_latest_checkpoint
from mmwsss.models import EfficientNetLite
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


def test_training_leaves_a_checkpoint_that_loads_weights_only(trained):
    assert trained.name == 'epoch_2.pth'
    checkpoint = torch.load(trained, weights_only=True)
    assert checkpoint['meta']['dataset_meta']['classes']


def test_images_that_do_not_fill_a_batch_are_an_error(tiny_cam_cfg, tmp_path):
    tiny_cam_cfg.train_dataloader.batch_size = 13
    with pytest.raises(UserError, match=r'12 images .*batch of 13.*batch_size=12 '):
        train(tiny_cam_cfg, tmp_path)


@pytest.mark.parametrize('name', ['train_dataloader', 'train_cfg', 'optim_wrapper', 'model'])
def test_config_without_a_training_is_an_error(tiny_cam_cfg, tmp_path, name):
    tiny_cam_cfg.pop(name)
    with pytest.raises(UserError, match=f'cam_efflite0_small.py: has no {name}'):
        train(tiny_cam_cfg, tmp_path)


WEIGHTS = dict(type='StrictPretrained', checkpoint='weights.pth')


def frozen(**classifier):
    backbone = dict(type='ResNet38', frozen_stages=1)
    return dict(type='SEAM', classifier=dict(dict(type='CAMClassifier', backbone=backbone), **classifier))


@pytest.mark.parametrize(('model', 'path'), [
    (frozen()['classifier'], 'model.backbone'), (frozen(), 'model.classifier.backbone'),
    (dict(branches=[dict(backbone=dict(type='A')), frozen()]), 'model.branches.1.classifier.backbone'),
    (dict(frozen(), backbone=dict(type='ResNet50', frozen_stages=1, init_cfg=WEIGHTS)), 'model.classifier.backbone'),
    (dict(frozen(), teacher=dict(init_cfg=WEIGHTS)), 'model.classifier.backbone')])
def test_frozen_backbone_without_weights_is_named(model, path):
    with pytest.raises(UserError, match='ResNet38: frozen_stages=1') as info:
        check_pretrained(Config(dict(model=model)))
    message = str(info.value)
    assert '\n' not in message
    assert f' {path}.init_cfg.checkpoint=FILE' in message and f' {path}.frozen_stages=0' in message
    check_pretrained(Config(dict(model=model, load_from='weights.pth')))
    cfg = Config(dict(model=model))
    # What the message asks for.
    options = {f'{path}.init_cfg.type': 'StrictPretrained', f'{path}.init_cfg.checkpoint': 'FILE'}
    cfg.merge_from_dict(options)
    check_pretrained(cfg)
    cfg = Config(dict(model=model))
    cfg.merge_from_dict({f'{path}.frozen_stages': 0})
    check_pretrained(cfg)


@pytest.mark.parametrize('model', [
    frozen(init_cfg=WEIGHTS), frozen(pretrained='weights.pth'), dict(frozen(), init_cfg=WEIGHTS),
    frozen(backbone=dict(type='ResNet38', frozen_stages=-1)), frozen(backbone=dict(type='ResNet38')),
    dict(branches=[frozen(init_cfg=WEIGHTS)])])
def test_weights_may_come_from_a_model_around_the_backbone(model):
    check_pretrained(Config(dict(model=model)))


@pytest.mark.parametrize(('backbone', 'fine'), [
    (dict(model='dinov2'), True), (dict(config=dict(model_type='vit'), pretrained='dinov2'), True),
    (dict(config=dict(model_type='vit')), False), (dict(model='dinov2', pretrained=False), False)])
def test_frozen_backbone_of_hugging_face(backbone, fine):
    for option in (dict(frozen=True), dict(frozen_stages=2)):
        cfg = Config(dict(model=dict(type='CAMClassifier', backbone=dict(type='HFBackbone', **backbone, **option))))
        if fine:
            check_pretrained(cfg)
            continue
        with pytest.raises(UserError, match=f'HFBackbone: {next(iter(option))}=') as info:
            check_pretrained(cfg)
        assert 'model.backbone.pretrained=FOLDER' in str(info.value)
        cfg.merge_from_dict({'model.backbone.pretrained': 'FOLDER'})
        check_pretrained(cfg)
    check_pretrained(Config(dict(model=dict(backbone=dict(type='HFBackbone', **backbone)))))


def test_normalization_is_checked_before_a_training_and_a_test(tiny_cam_cfg, tmp_path, monkeypatch):
    wanted = SimpleNamespace(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    monkeypatch.setattr(EfficientNetLite, 'normalization', wanted, raising=False)
    with pytest.raises(UserError, match='backbone was trained with other images; set mean'):
        train(tiny_cam_cfg, tmp_path)
    model = MODELS.build(dict(type='CAMClassifier', cam_head=dict(type='CAMHead', in_channels=1280, num_classes=2),
                              backbone=dict(type='EfficientNetLite'), data_preprocessor=dict(
                                  type='WSSSDataPreProcessor', mean=[0, 0, 0], std=[1, 1, 1], bgr_to_rgb=True)))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    with pytest.raises(UserError, match='backbone was trained with other images; set mean'):
        load_for_inference(model, tmp_path / 'model.pth', None)
    monkeypatch.setattr(EfficientNetLite, 'normalization', SimpleNamespace(mean=(0, 0, 0), std=(1, 1, 1)))
    load_for_inference(model, tmp_path / 'model.pth', None)


def test_config_without_a_test_is_an_error(tiny_cam_cfg, tmp_path):
    tiny_cam_cfg.pop('test_evaluator')
    with pytest.raises(UserError, match='has no test_evaluator'):
        run_test(tiny_cam_cfg, 'nothing.pth', tmp_path)
    tiny_cam_cfg.pop('test_dataloader')
    with pytest.raises(UserError, match='has no test_dataloader'):
        make_cam(tiny_cam_cfg, 'nothing.pth', tmp_path)


@pytest.mark.parametrize('name', ['num_threads', 'randomness.seed'])
def test_numbers_are_numbers(tiny_cam_cfg, tmp_path, name):
    tiny_cam_cfg.merge_from_dict({name: 'many'})
    with pytest.raises(UserError, match=rf"{name}: .*'many'"):
        train(tiny_cam_cfg, tmp_path)


@pytest.mark.parametrize('meta', [[1], dict(dataset_meta=7), dict(dataset_meta=dict(classes=7))])
def test_odd_metadata_name_no_classes(trained, tiny_cam_cfg, tmp_path, meta):
    torch.save(dict(torch.load(trained, weights_only=True), meta=meta), tmp_path / 'epoch_1.pth')
    assert run_test(copy.deepcopy(tiny_cam_cfg), tmp_path / 'epoch_1.pth', tmp_path / 'test').metrics
    with pytest.raises(UserError, match='no state of a training'):
        train(tiny_cam_cfg, tmp_path, resume=True)


def test_checkpoint_of_another_model_or_class_list(trained, tiny_cam_cfg, generated_copy, tmp_path):
    with pytest.raises(UserError, match=r'nothing\.pth'):
        make_cam(tiny_cam_cfg, tmp_path / 'nothing.pth', tmp_path / 'cam')
    other = copy.deepcopy(tiny_cam_cfg)
    other.model.backbone.variant = 'lite1'
    with pytest.raises(UserError, match=r'epoch_2\.pth'):
        run_test(other, trained, tmp_path / 'work')
    names = (generated_copy / 'classes.txt').read_text().split()
    (generated_copy / 'classes.txt').write_text('\n'.join(reversed(names)))
    swapped = copy.deepcopy(tiny_cam_cfg)
    swapped.test_dataloader.dataset.data_root = str(generated_copy)
    with pytest.raises(UserError, match='order of the training'):
        run_test(swapped, trained, tmp_path / 'work')


def test_damaged_checkpoint_is_named(trained, tiny_cam_cfg, tmp_path):
    damaged = tmp_path / 'damaged.pth'
    damaged.write_bytes(trained.read_bytes()[:5000])
    with pytest.raises(UserError, match=r'damaged\.pth'):
        run_test(tiny_cam_cfg, damaged, tmp_path / 'work')


def test_resumed_training_ends_with_the_same_weights(tiny_cam_cfg, tmp_path):
    whole = train(copy.deepcopy(tiny_cam_cfg), tmp_path / 'whole').checkpoint
    first = copy.deepcopy(tiny_cam_cfg)
    first.train_cfg.max_epochs = 2
    first.custom_hooks = [*first.custom_hooks, dict(type='StopAfterEpochHook', epoch=1)]
    with pytest.raises(InterruptedError):
        train(first, tmp_path / 'resumed')
    assert find_latest_checkpoint(tmp_path / 'resumed').name == 'epoch_1.pth'
    tiny_cam_cfg.train_dataloader.num_workers = 2
    resumed = train(tiny_cam_cfg, tmp_path / 'resumed', resume=True).checkpoint
    one, two = (torch.load(path, weights_only=True)['state_dict'] for path in (whole, resumed))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.fixture
def processes(monkeypatch):
    def set_number(number):
        monkeypatch.setattr('mmwsss.apis.runner.get_world_size', lambda: number)
    return set_number


@pytest.mark.parametrize(('number', 'share'), [(1, 12), (2, 6), (3, 4), (12, 1)])
def test_batch_size_is_the_total(processes, number, share):
    processes(number)
    cfg = Config(dict(train_dataloader=dict(batch_size=12), auto_scale_lr=dict(base_batch_size=12, enable=False)))
    assert share_batch(cfg).train_dataloader.batch_size == share


def test_total_that_cannot_be_shared(processes):
    processes(8)
    with pytest.raises(UserError, match=r'batch_size=12: is the total, which 8 processes cannot share.*batch_size=16'):
        share_batch(Config(dict(train_dataloader=dict(batch_size=12))))


def test_batch_of_each_process_with_a_scaled_rate(processes, tiny_cam_cfg):
    processes(4)
    tiny_cam_cfg.auto_scale_lr.enable = True
    assert share_batch(tiny_cam_cfg).train_dataloader.batch_size == 4
    with pytest.raises(UserError, match='base_batch_size'):
        share_batch(Config(dict(train_dataloader=dict(batch_size=12), auto_scale_lr=dict(enable=True))))


def test_learning_rate_scales_with_the_batch(tiny_cam_cfg, tmp_path):
    rates = {}
    for name, enable in (('as_it_is', False), ('scaled', True)):
        cfg = copy.deepcopy(tiny_cam_cfg)
        cfg.train_cfg.max_epochs = 1
        cfg.auto_scale_lr.enable = enable
        checkpoint = torch.load(train(cfg, tmp_path / name).checkpoint, weights_only=True)
        rates[name] = [group['initial_lr'] for group in checkpoint['optimizer']['param_groups']]
        assert cfg.train_dataloader.batch_size == 4  # a config may be trained again
    # Batch 4 at the rate for batch 16.
    assert rates['scaled'] == [pytest.approx(rate / 4) for rate in rates['as_it_is']]


def test_workers_may_be_none_with_what_is_for_workers(tiny_cam_cfg, tmp_path):
    for loader in (tiny_cam_cfg.train_dataloader, tiny_cam_cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=True, prefetch_factor=4)
    tiny_cam_cfg.train_cfg.max_epochs = 1
    checkpoint = train(copy.deepcopy(tiny_cam_cfg), tmp_path).checkpoint
    assert run_test(tiny_cam_cfg, checkpoint, tmp_path / 'test').metrics


def test_longer_training_goes_on_at_a_rate_above_zero(tiny_cam_cfg, tmp_path, capsys):
    train(copy.deepcopy(tiny_cam_cfg), tmp_path)
    capsys.readouterr()
    longer = copy.deepcopy(tiny_cam_cfg)
    longer.train_cfg.max_epochs = 4
    result = train(longer, tmp_path, resume=True)
    assert result.checkpoint.name == 'epoch_4.pth'
    assert 'end of PolyLR 6 -> 12' in capsys.readouterr().out
    assert torch.load(result.checkpoint, weights_only=True)['param_schedulers'][0]['end'] == 12


def test_training_is_resumed_with_its_classes_only(tiny_cam_cfg, generated_copy, tmp_path):
    train(copy.deepcopy(tiny_cam_cfg), tmp_path / 'work')
    names = (generated_copy / 'classes.txt').read_text().split()
    (generated_copy / 'classes.txt').write_text('\n'.join(reversed(names)))
    tiny_cam_cfg.train_dataloader.dataset.data_root = str(generated_copy)
    tiny_cam_cfg.train_cfg.max_epochs = 4
    with pytest.raises(UserError, match='the same classes in another order'):
        train(tiny_cam_cfg, tmp_path / 'work', resume=True)


def test_training_that_diverges_ends_in_one_line(tiny_cam_cfg, tmp_path):
    tiny_cam_cfg.optim_wrapper.optimizer.lr = 1e30
    with pytest.raises(UserError, match='not finite') as info:
        train(tiny_cam_cfg, tmp_path)
    assert '\n' not in str(info.value)
    assert not list(tmp_path.glob('*.pth'))
