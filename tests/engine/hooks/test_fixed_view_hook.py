from types import SimpleNamespace

import pytest
from mmengine.dataset import Compose

from mmwsss.engine.hooks import FixedViewHook
from mmwsss.registry import HOOKS, TRANSFORMS
from mmwsss.utils.errors import UserError

FIXED = [dict(type='LoadImage'), dict(type='ScaleImage', factor=0.5), dict(type='PackWSSSInputs')]
RANDOM = [dict(type='RandomFlip', prob=0.5), dict(type='RandomCrop', crop_size=(8, 8)),
          dict(type='RandomResizeLong', long_side=(8, 16)), dict(type='PhotoMetricDistortion')]


def runner_of(dataset):
    return SimpleNamespace(train_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset)))


def dataset_of(pipeline):
    return SimpleNamespace(pipeline=Compose([TRANSFORMS.build(step) for step in pipeline]))


def test_a_fixed_view_passes():
    HOOKS.build(dict(type='FixedViewHook')).before_train(runner_of(dataset_of(FIXED)))


@pytest.mark.parametrize('step', RANDOM, ids=lambda step: step['type'])
def test_random_views_are_refused_in_wrapped_data_sets_too(step):
    random = dataset_of([FIXED[0], step, FIXED[-1]])
    concatenated = SimpleNamespace(datasets=[dataset_of(FIXED), random])
    for dataset in (random, SimpleNamespace(dataset=random), concatenated, SimpleNamespace(dataset=concatenated)):
        with pytest.raises(UserError, match=f'{step["type"]} gives another view'):
            FixedViewHook().before_train(runner_of(dataset))
