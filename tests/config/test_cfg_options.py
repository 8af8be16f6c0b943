import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import pytest
from mmengine.config import Config

from mmwsss.cli.arguments import add_cfg_options
from mmwsss.config.cfg_options import fit_value
from mmwsss.config.config import load_config, merge_options
from mmwsss.utils.errors import UserError


def parse(*words):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser, 'options')
    return parser.parse_args(['--cfg-options', *words]).cfg_options


class Part:
    def __init__(self, name: str, count: int = 1, rate: float = 1., flag: bool = False, path: str | Path | None = None,
                 names: Sequence[str] | None = None, sizes: tuple[int, ...] = (1, 2),
                 either: Union[str, Sequence[str]] = '', optional: Optional[int] = 3,  # noqa: UP007, UP045
                 anything: Any = 1, free=None) -> None:
        """Has a parameter of every kind."""


class Child(Part):
    def __init__(self, own: int = 0, **kwargs) -> None:
        super().__init__(**kwargs)


@pytest.mark.parametrize('owner', [Part, Child, Part.__init__])
@pytest.mark.parametrize(('word', 'expected'), [
    ('name=2007', '2007'), ('name=1e5', '1e5'), ('name=a,b', 'a,b'), ('name=/a, b/c', '/a, b/c'), ('name=true', 'true'),
    ('name=[x]', '[x]'), ('name="3"', '3'), ('count=3', 3), ('count=1e3', 1000), ('rate=3', 3.), ('rate=1e-3', .001),
    ('flag=true', True), ('flag=False', False), ('flag=0', False), ('path=7', '7'), ('path=None', None),
    ('names=1,b', ['1', 'b']), ('names=[1,b]', ['1', 'b']), ('names=(1,)', ('1', )), ('names=7', ['7']),
    ('names=cat', ['cat']), ('sizes=3', [3]), ('sizes=(3,4)', (3, 4)), ('either=7', '7'), ('either=7,8', ['7', '8']),
    ('optional=None', None), ('optional=4', 4), ('anything=a,b', ['a', 'b']), ('free=2007', 2007)])
def test_values_get_the_annotated_type(owner, word, expected):
    (key, value), = (options := parse(word)).items()
    fitted = fit_value(key, value, options.texts[key], None, owner)
    assert fitted == expected and type(fitted) is type(expected)


@pytest.mark.parametrize(('word', 'wanted'), [
    ('count=x', 'a whole number'), ('count=1.5', 'a whole number'), ('count=true', 'a whole number'),
    ('count=1,2', 'a whole number'), ('rate=x', 'a number'), ('flag=yes', 'true or false'),
    ('flag=2', 'true or false'), ('name=None', 'text'), ('optional=x', 'a whole number')])
def test_values_that_do_not_fit_are_refused_by_name(word, wanted):
    (key, value), = (options := parse(f'model.{word}')).items()
    with pytest.raises(UserError, match=f'^--cfg-options model.{word}: must be {wanted}$'):
        fit_value(key, value, options.texts[key], None, Part)


@pytest.mark.parametrize(('current', 'word', 'expected'), [
    ('train', 'x=2007', '2007'), ('a', 'x=b,c', 'b,c'), ('a', 'x=[b,c]', ['b', 'c']), ('a', 'x=None', None),
    (3, 'x=4', 4), (3, 'x=4.0', 4), (3, 'x=(4,5)', (4, 5)), (3, 'x=None', None), (.1, 'x=1', 1.), (True, 'x=0', False),
    ((1, 2), 'x=3', [3]), (['cat'], 'x=2007', ['2007']), (['a', 'b'], 'x=1,2', ['1', '2']),
    (None, 'x=a,b', ['a', 'b'])])
def test_without_an_annotation_the_value_of_the_config_tells(current, word, expected):
    (key, value), = (options := parse(word)).items()
    assert fit_value(key, value, options.texts[key], current) == expected


@pytest.mark.parametrize(('current', 'word'), [(3, 'x=a'), (3, 'x=4.5'), (.1, 'x=a'), (True, 'x=2'), (True, 'x=a')])
def test_without_an_annotation_another_kind_is_refused(current, word):
    (key, value), = (options := parse(word)).items()
    with pytest.raises(UserError, match=f'--cfg-options {word}: must be'):
        fit_value(key, value, options.texts[key], current)


def test_options_of_several_times_are_kept_together():
    parser = argparse.ArgumentParser()
    add_cfg_options(parser, 'options')
    options = parser.parse_args(['--cfg-options', 'a=1', 'b=2', '--cfg-options', 'a=3']).cfg_options
    assert options == {'a': 3, 'b': 2} and options.texts == {'a': '3', 'b': '2'}


def test_a_real_config(repo_root, generated_copy):
    """Numbers and commas in names: a split called 2007, a folder with a comma and a space in its name."""
    (generated_copy / 'ImageSets/train.txt').rename(generated_copy / 'ImageSets/2007.txt')
    cfg = load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_copy, parse(
        'train_dataloader.dataset.split=2007', 'train_dataloader.dataset.seg_dir=/my labels, new',
        'train_dataloader.dataset.missing_mask=skip', 'train_dataloader.batch_size=3', 'num_threads=1',
        'load_from=123.pth', 'optim_wrapper.optimizer.lr=1'))
    dataset = cfg.train_dataloader.dataset
    assert (dataset.split, dataset.seg_dir) == ('2007', '/my labels, new')
    assert cfg.load_from == '123.pth' and type(cfg.optim_wrapper.optimizer.lr) is float


@pytest.mark.parametrize(('word', 'wanted'), [
    ('train_cfg.max_epochs=x', 'a whole number'), ('train_dataloader.batch_size=2.5', 'a whole number'),
    ('optim_wrapper.optimizer.lr=high', 'a number'), ('resume=maybe', 'true or false'), ('num_threads=two', 'a whole'),
    ('model.backbone.norm_eval=often', 'true or false')])
def test_a_real_config_refuses(repo_root, generated_root, word, wanted):
    with pytest.raises(UserError, match=f'--cfg-options {word}: must be {wanted}'):
        load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, parse(word))


def test_the_type_of_a_part_may_come_with_its_settings(repo_root, generated_root):
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, parse(
        'model.backbone.init_cfg.checkpoint=7', 'model.backbone.init_cfg.type=Pretrained'))
    assert cfg.model.backbone.init_cfg.checkpoint == '7'


def test_lists_grow_by_the_next_item(repo_root, generated_root):
    path = repo_root / 'configs/cam/cam_efflite0_small.py'
    cfg = load_config(path, generated_root, parse('vis_backends.1.type=TensorboardVisBackend',
                                                  'custom_hooks.3.type=EMAHook', 'custom_hooks.3.momentum=1'))
    assert [backend.type for backend in cfg.visualizer.vis_backends] == ['LocalVisBackend', 'TensorboardVisBackend']
    assert cfg.custom_hooks[3] == dict(type='EMAHook', momentum=1)
    with pytest.raises(UserError, match=r'custom_hooks\.5\.type: the list has 3 items, so the next one is number 3'):
        load_config(path, generated_root, parse('custom_hooks.5.type=EMAHook'))


def test_lists_of_plain_values_grow():
    cfg = merge_options(Config(dict(a=[1, 2])), parse('a.2=3'), known=())
    assert cfg.a == [1, 2, 3]


def test_values_from_python_are_taken_as_they_are(repo_root, generated_root):
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, {'train_cfg.max_epochs': 7.5})
    assert cfg.train_cfg.max_epochs == 7.5
