import copy

import pytest

from mmwsss.config.config import load_config, set_backbone_weights
from mmwsss.experiments.pipeline.stage_keys import config_parts
from mmwsss.registry import STAGES


def parts(cfg, stage='train', **changes):
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(changes)
    return config_parts(cfg, stage)


@pytest.mark.parametrize('change', [
    {'train_dataloader.num_workers': 3}, {'log_level': 'ERROR'}, {'default_hooks.logger.interval': 1},
    {'test_dataloader.batch_size': 3}, {'model.test_cfg.stride': 1}, {'model.inference_hooks.0.scales': (1.0,)},
    {'train_dataloader.dataset.data_root': '/elsewhere'}, {'auto_scale_lr.base_batch_size': 3}])
def test_a_training_does_not_depend_on_this(tiny_cam_cfg, change):
    assert parts(tiny_cam_cfg, **change) == parts(tiny_cam_cfg)


@pytest.mark.parametrize('change', [
    {'train_dataloader.batch_size': 3}, {'optim_wrapper.optimizer.lr': 3.0}, {'train_cfg.max_epochs': 9},
    {'randomness.seed': 5}, {'auto_scale_lr.enable': True}, {'model.cam_head.dropout_ratio': 0.5},
    {'train_dataloader.dataset.pipeline.1.long_side': (50, 64)}])
def test_a_training_depends_on_this(tiny_cam_cfg, change):
    assert parts(tiny_cam_cfg, **change) != parts(tiny_cam_cfg)


def test_cams_depend_on_the_inference_and_not_on_the_training(tiny_cam_cfg):
    same = parts(tiny_cam_cfg, 'make_cam', **{'optim_wrapper.optimizer.lr': 3.0})
    assert same == parts(tiny_cam_cfg, 'make_cam')
    for change in ({'model.inference_hooks.0.scales': (1.0,)}, {'test_cfg.amp': 'bfloat16'}):
        assert parts(tiny_cam_cfg, 'make_cam', **change) != same


def test_weights_count_by_content(tiny_cam_cfg, tmp_path):
    for name, content in (('a.pth', b'1'), ('b.pth', b'1'), ('c.pth', b'2')):
        (tmp_path / name).write_bytes(content)
    given = []
    for name in ('a.pth', 'b.pth', 'c.pth'):
        set_backbone_weights(tiny_cam_cfg.model, tmp_path / name)
        given.append(config_parts(tiny_cam_cfg, 'train'))
    assert given[0] == given[1] != given[2]
    in_config = []
    for name in ('a.pth', 'b.pth', 'c.pth'):
        tiny_cam_cfg.model.backbone.init_cfg = dict(type='StrictPretrained', checkpoint=str(tmp_path / name))
        in_config.append(config_parts(tiny_cam_cfg, 'train'))
    assert in_config[0] == in_config[1] != in_config[2]


@pytest.mark.parametrize('stage', ['make_cam', 'test'])
def test_a_second_network_counts_by_its_weights(tiny_cam_cfg, tmp_path, stage):
    path, moved = tmp_path / 'a.pth', tmp_path / 'moved.pth'

    def key(name):
        network = dict(type='ResNet', depth=18, init_cfg=dict(type='StrictPretrained', checkpoint=str(name)))
        return parts(tiny_cam_cfg, stage, **{'model.inference_hooks': [
            dict(type='ExternalFeatures', backbone=network, cache_dir=str(name), hook=dict(type='SSA', stages='0'))]})

    path.write_bytes(b'1')
    before = key(path)
    moved.write_bytes(b'1')
    assert key(moved) == before
    path.write_bytes(b'2')
    assert key(path) != before


@pytest.mark.parametrize(('stage', 'name'), [('train', 'load_from'), ('train', 'model.cam_head.embeddings'),
                                             ('make_cam', 'model.cam_head.embeddings')])
def test_files_that_change_under_their_name(tiny_cam_cfg, tmp_path, stage, name):
    path = tmp_path / 'file'
    path.write_bytes(b'1')
    before = parts(tiny_cam_cfg, stage, **{name: str(path)})
    path.write_bytes(b'2')
    assert parts(tiny_cam_cfg, stage, **{name: str(path)}) != before


def test_a_training_does_not_depend_on_the_number_of_processes(tiny_cam_cfg, monkeypatch):
    before = parts(tiny_cam_cfg)
    monkeypatch.setattr('torch.distributed.is_initialized', lambda: True)
    monkeypatch.setattr('torch.distributed.get_world_size', lambda *_: 2)
    assert parts(tiny_cam_cfg) == before


@pytest.mark.parametrize(('kind', 'options'), [
    ('eval_cam', {}), ('pseudo_label', {}), ('test', dict(config='seg')), ('make_saliency', {})])
def test_a_result_does_not_depend_on_the_number_of_workers(repo_root, generated_root, stage_context, tmp_path, kind,
                                                           options):
    cfg = load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_root)
    context = stage_context(generated_root, load_config=lambda name, options: cfg)
    if kind == 'make_saliency':
        (tmp_path / 'net.onnx').write_bytes(b'1')
        options = dict(model=str(tmp_path / 'net.onnx'))
    keys = [STAGES.get(kind)(name='name', split='train', num_workers=number, **options).key(context)
            for number in (None, 0, 3)]
    assert keys[0] == keys[1] == keys[2] and 'num_workers' not in keys[0]['options']


@pytest.mark.parametrize(('stage', 'changed', 'matters'), [
    ('train', 'JPEGImages/train_00001.jpg', True), ('train', 'labels.json', True),
    ('train', 'SegmentationClass/train_00001.png', False),  # labels come from labels.json
    ('train', 'JPEGImages/val_00001.jpg', False),
    ('eval_cam', 'SegmentationClass/train_00001.png', True),
    ('pseudo_label', 'SegmentationClass/train_00001.png', False),
])
def test_fingerprint_follows_what_the_stage_reads(data_key, generated_copy, stage, changed, matters):
    before = data_key(stage)
    path = generated_copy / changed
    path.write_bytes(path.read_bytes() + b' ')
    assert (data_key(stage) != before) == matters


@pytest.fixture
def data_key(tiny_cam_cfg, generated_copy, stage_context):
    """Returns what a stage's key says of the data."""
    def data_key(kind):
        options = dict(config='cam') if kind == 'train' else {}
        cfg = copy.deepcopy(tiny_cam_cfg)
        cfg.train_dataloader.dataset.data_root = str(generated_copy)
        context = stage_context(generated_copy, load_config=lambda name, options: cfg)
        return STAGES.get(kind)(name='name', split='train', **options).key(context)['data']
    return data_key


def test_label_file_of_the_config_is_in_the_fingerprint(tiny_cam_cfg, data_key, generated_copy):
    (generated_copy / 'own.csv').write_text('train_00001,boat\n')
    tiny_cam_cfg.train_dataloader.dataset.label_source = 'own.csv'
    before = data_key('train')
    (generated_copy / 'own.csv').write_text('train_00001,dog\n')
    assert data_key('train') != before


@pytest.mark.parametrize('required', [False, True])
def test_fingerprint_follows_required_saliency_maps(tiny_cam_cfg, data_key, generated_copy, required):
    tiny_cam_cfg.train_dataloader.dataset.require_saliency = required
    before = data_key('train')
    path = generated_copy / 'Saliency/train_00001.png'
    path.write_bytes(path.read_bytes() + b' ')
    assert (data_key('train') != before) == required


def test_refined_cams_depend_on_the_model_and_not_on_where_the_cams_are(repo_root, generated_root):
    cfg = load_config(repo_root / 'configs/affinitynet/affinitynet_efflite0_small.py', generated_root)
    assert parts(cfg, **{'model.random_walk.steps': 4}) == parts(cfg)  # no part of the training
    same = parts(cfg, 'refine_cam')
    assert parts(cfg, 'refine_cam', **{'test_dataloader.dataset.pipeline.1.cam_dir': '/elsewhere'}) == same
    for change in ({'test_dataloader.dataset.pipeline.1.stride': 8}, {'model.random_walk.steps': 4},
                   {'model.test_cfg.alpha': 4}):
        assert parts(cfg, 'refine_cam', **change) != same


def test_a_test_depends_on_its_views(repo_root, generated_root):
    cfg = load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_root)
    change = {'tta_pipeline.2.transforms.0.0.factor': 0.6}
    assert parts(cfg, 'test', **change) != parts(cfg, 'test') == parts(cfg, 'test', **{'log_level': 'ERROR'})
    assert parts(cfg, **change) == parts(cfg)  # a training does not
