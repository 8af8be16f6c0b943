import argparse
from pathlib import Path

import pytest
from mmengine.config import ConfigDict

from mmwsss.cli.arguments import add_config_arguments
from mmwsss.config.config import (
    backbones_of,
    datasets_of,
    fill_num_classes,
    load_config,
    set_backbone_weights,
)
from mmwsss.utils.errors import UserError


def test_data_root_classes_and_seed_reach_every_part(repo_root, generated_root):
    cfg = load_config(repo_root / 'configs/cam/cam_r50_small.py', generated_root, {'randomness.seed': 7})
    assert {d.data_root for d in datasets_of(cfg)} == {str(generated_root)}
    assert cfg.model.cam_head.num_classes == 3
    assert cfg.train_dataloader.dataset.seed == 7


def test_background_is_a_class_of_the_segmentor_only(repo_root, generated_root):
    cfg = load_config(repo_root / 'configs/segmentation/deeplab_r50_small.py', generated_root)
    assert cfg.model.decode_head.num_classes == 4


def test_class_list_of_the_config_wins(repo_root, generated_root):
    cfg = load_config(repo_root / 'configs/cam/cam_r50_small.py', generated_root, {'classes': ['a', 'b']})
    assert cfg.model.cam_head.num_classes == 2
    assert all(d.classes == ['a', 'b'] for d in datasets_of(cfg))


def test_wrapped_datasets_are_found(tmp_path):
    inner = dict(type='VOCImageLabelDataset', data_root='x')
    cfg = ConfigDict(train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[inner, dict(inner)]))))
    assert [d.type for d in datasets_of(cfg)].count('VOCImageLabelDataset') == 2


@pytest.mark.parametrize(('count', 'message'), [(5, 'num_classes=5'), (20, 'leave num_classes=None')])
def test_another_number_of_classes_is_an_error(count, message):
    with pytest.raises(UserError, match=message):
        fill_num_classes(dict(type='M', cam_head=dict(type='H', num_classes=count)), 3)


def test_other_heads_may_have_classes_of_their_own():
    model = dict(decode_head=dict(num_classes=None), auxiliary_head=[dict(num_classes=2), dict(num_classes=None)])
    fill_num_classes(model, 4)
    assert model == dict(decode_head=dict(num_classes=4), auxiliary_head=[dict(num_classes=2), dict(num_classes=4)])


def test_classes_reach_the_head_of_a_model_inside(repo_root, generated_root):
    config = repo_root / 'configs/seam/seam_efflite0_small.py'
    assert load_config(config, generated_root).model.classifier.cam_head.num_classes == 3
    with pytest.raises(UserError, match='num_classes=7'):
        load_config(config, generated_root, {'model.classifier.cam_head.num_classes': 7})


def nested_model():
    def backbone(n):
        return dict(type='B', depth=n, backbone=dict(type='no backbone of a model'))
    return dict(type='M', backbone=backbone(0), neck=dict(type='N'), head=None, scales=(1, 2),
                auxiliary=dict(backbone=None),
                classifier=dict(type='C', backbone=backbone(1), inner=dict(backbone=backbone(2))),
                branches=[dict(backbone=backbone(3)), 'text', [dict(backbone=backbone(4))]])


@pytest.mark.parametrize('make', [dict, ConfigDict])
def test_backbones_are_found_at_any_depth(make):
    found = dict(backbones_of(make(nested_model())))
    assert {path: backbone['depth'] for path, backbone in found.items()} == {
        'model.backbone': 0, 'model.classifier.backbone': 1, 'model.classifier.inner.backbone': 2,
        'model.branches.0.backbone': 3, 'model.branches.2.0.backbone': 4}
    assert dict(backbones_of(make(type='M', head=dict(type='H')))) == {}
    assert list(dict(backbones_of(make(backbone=dict(type='B')), 'cfg.model'))) == ['cfg.model.backbone']


def test_paths_of_backbones_are_those_of_cfg_options(repo_root, generated_root):
    """An option with such a path changes what backbones_of yields."""
    config = repo_root / 'configs/seam/seam_efflite0_small.py'
    (path, _), = backbones_of(load_config(config, generated_root).model)
    assert path == 'model.classifier.backbone'
    (_, backbone), = backbones_of(load_config(config, generated_root, {f'{path}.variant': 'lite3'}).model)
    assert backbone.variant == 'lite3'


def test_weights_for_every_backbone():
    model = ConfigDict(nested_model())
    model.classifier.backbone.init_cfg = dict(type='Pretrained', checkpoint='other.pth', prefix='backbone')
    set_backbone_weights(model, Path('folder/weights.pth'))
    for _, backbone in backbones_of(model):
        assert backbone.init_cfg == dict(type='StrictPretrained', checkpoint='folder/weights.pth')
    for _, backbone in backbones_of(model):
        del backbone['init_cfg']
    assert model == ConfigDict(nested_model())  # and nothing else


def test_schedule_ends_with_the_training(repo_root, generated_root, tmp_path):
    config = repo_root / 'configs/cam/cam_r50_small.py'
    shipped = load_config(config, generated_root, {'train_cfg.max_epochs': 7})
    assert 'end' not in shipped.param_scheduler[0], "MMEngine's Runner takes the training's"
    written = tmp_path / 'written.py'
    written.write_text(f"_base_ = '{config}'\ntrain_cfg = dict(max_epochs=3)\n"
                       "param_scheduler = [dict(type='PolyLR', end=3, by_epoch=True)]\n")
    assert load_config(written, generated_root, {'train_cfg.max_epochs': 7}).param_scheduler[0].end == 7
    own = {'train_cfg.max_epochs': 7, 'param_scheduler': [dict(type='PolyLR', end=3, by_epoch=True)]}
    assert load_config(config, generated_root, own).param_scheduler[0].end == 3


@pytest.mark.parametrize('options', [{'model.inference_hooks.3.scales': 1}, {'data_root.x.y': 1}])
def test_options_that_lead_nowhere(repo_root, generated_root, options):
    with pytest.raises(UserError, match=next(iter(options))):
        load_config(repo_root / 'configs/cam/cam_r50_small.py', generated_root, options)


@pytest.mark.parametrize(('options', 'message'), [
    ({'modle.backbone.x': 1}, "no setting 'modle'.*'model'"), ({'model': 3}, 'model=3: is a dict'),
    ({'train_dataloader': 'x'}, r'train_dataloader\.NAME=VALUE')])
def test_misspelt_options_are_not_passed_over(repo_root, generated_root, options, message):
    with pytest.raises(UserError, match=message):
        load_config(repo_root / 'configs/cam/cam_r50_small.py', generated_root, options)


@pytest.mark.parametrize(('folder', 'name', 'kind'), [
    ('pipelines', 'cam_small', 'pipeline'), ('studies', 'seam_r50_small', 'study')])
def test_files_of_other_commands(repo_root, folder, name, kind):
    with pytest.raises(UserError, match=rf'{name}\.py: is a {kind}; use mmwsss {kind}$'):
        load_config(repo_root / 'configs' / folder / f'{name}.py')


def test_missing_files_are_named(repo_root, tmp_path, generated_copy):
    config = repo_root / 'configs/cam/cam_r50_small.py'
    with pytest.raises(UserError, match=r'nothing\.py.*no such config'):
        load_config(tmp_path / 'nothing.py')
    with pytest.raises(UserError, match=r'nowhere.*--data-root'):
        load_config(config, tmp_path / 'nowhere')
    with pytest.raises(UserError, match=r'data/VOC2012.*--data-root'):
        load_config(config)
    (generated_copy / 'classes.txt').write_text('')
    with pytest.raises(UserError, match=r'classes\.txt'):
        load_config(config, generated_copy)


def test_broken_config_is_one_line(tmp_path):
    broken = tmp_path / 'broken.py'
    broken.write_text('model = dict(\n')
    with pytest.raises(UserError, match=r'broken\.py') as info:
        load_config(broken)
    assert '\n' not in str(info.value)


@pytest.mark.parametrize('content, reason', [
    (b'x = 1 / 0\n', r'ZeroDivisionError: division by zero in .*broken\.py:1'),
    (bytes(range(256)), 'UnicodeDecodeError'),
    (b"custom_imports = dict(imports=['nothing_here'], allow_failed_imports=False)\n", 'ImportError.*nothing_here'),
    (b"_base_ = 'nothing.py'\n", 'FileNotFoundError')])
def test_config_that_cannot_be_run_is_one_line(tmp_path, content, reason):
    broken = tmp_path / 'broken.py'
    broken.write_bytes(content)
    with pytest.raises(UserError, match=reason) as info:
        load_config(broken)
    assert '\n' not in str(info.value)


@pytest.mark.parametrize('words', [['train_cfg'], ['a=[1,2']])
def test_options_that_are_none(words, capsys):
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    assert parser.parse_args(['--cfg-options', 'a.b=[1,2]']).cfg_options == {'a.b': [1, 2]}
    with pytest.raises(SystemExit) as info:
        parser.parse_args(['--cfg-options', *words])
    assert info.value.code == 2 and words[0] in capsys.readouterr().err


@pytest.mark.parametrize(('value', 'message'), [
    ('a=[1,(2]', 'closed brackets'), ('hooks=[dict(type=A, name=1)]', 'such as dicts'), ('nothing', 'KEY=VALUE')])
def test_option_that_cannot_be_read_ends_in_one_line(capsys, value, message):
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--cfg-options', value])
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and message in last and value in last


@pytest.mark.parametrize('name', ['cam/cam_efflite0_small.py', 'cam/cam_efflite0_folder.py',
                                  'segmentation/deeplab_efflite0_small.py'])
def test_config_is_fitted_to_the_layout_of_the_data(repo_root, tmp_path, generated_root, name):
    from mmwsss.datasets import DataFolder
    from mmwsss.registry import DATASETS
    folder = tmp_path / 'folder'
    (folder / 'annotations').mkdir(parents=True)
    for source, target in (('JPEGImages', 'images'), ('SegmentationClass', 'masks')):
        (folder / target).symlink_to(generated_root / source)
    for file in ('classes.txt', 'labels.json'):
        (folder / file).symlink_to(generated_root / file)
    kinds = {}
    for root in (generated_root, folder, DataFolder.find(folder, classes=['boat', 'owl'])):
        cfg = load_config(repo_root / 'configs' / name, root)
        assert cfg.data_root == str(root.root if isinstance(root, DataFolder) else root)
        dataset = cfg.test_dataloader.dataset
        dataset.update(split=None, pipeline=[], **({} if 'cam' in name else dict(missing_mask='error')))
        if root is not generated_root:
            dataset.classes = None
        built = DATASETS.build(dataset)
        assert len(built) == 16 and built.get_data_info(3)['seg_map_path'].endswith('train_00003.png')
        kinds[str(root)] = dataset.type
    voc, plain, said = kinds.values()
    if name.startswith('cam'):
        assert voc == 'VOCImageLabelDataset' and plain == said == 'ImageLabelDataset'
    head = cfg.model.get('cam_head') or cfg.model.decode_head
    assert head.num_classes == 2 + name.startswith('seg')


def test_a_localization_set_is_read_as_one(repo_root, tmp_path, generated_root):
    from mmengine.registry import init_default_scope

    from mmwsss.datasets.localization_set import masks_to_localization
    from mmwsss.registry import DATASETS
    init_default_scope('mmwsss')
    masks_to_localization(generated_root, tmp_path / 'set', 'train', 'test')
    cfg = load_config(repo_root / 'configs/wsol/cam_vgg16_small.py', tmp_path / 'set')
    assert cfg.model.cam_head.num_classes == 3
    assert {(d.type, d.data_root) for d in datasets_of(cfg)} == {('LocalizationDataset', str(tmp_path / 'set'))}
    info = DATASETS.build(cfg.test_dataloader.dataset).get_data_info(0)
    assert len(info['gt_boxes']) > 0 and '/Masks/' in info['seg_map_path']
