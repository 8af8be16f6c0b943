import numpy as np
import pytest

from mmwsss.postprocessing.base import build_postprocessor, build_postprocessors, check_image
from mmwsss.registry import POSTPROCESSORS
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError


class Gain:

    def __init__(self, row, factor=2):
        self.row, self.factor = row, factor

    def __call__(self, score_map, image):
        scores = score_map.scores.copy()
        scores[self.row] *= self.factor
        return ScoreMap(scores, score_map.classes)


@pytest.fixture(autouse=True)
def registered():
    POSTPROCESSORS.register_module(name='TestGain', module=Gain)
    yield
    POSTPROCESSORS.module_dict.pop('TestGain')


def test_build_in_order():
    built = build_postprocessors([{'type': 'TestGain', 'row': 0}, {'type': 'TestGain', 'row': 1, 'factor': 3}])
    assert [(p.row, p.factor) for p in built] == [(0, 2), (1, 3)]
    assert build_postprocessors([]) == []


def test_config_stays_as_it_is():
    config = {'type': 'TestGain', 'row': 0}
    build_postprocessor(config)
    assert config == {'type': 'TestGain', 'row': 0}


@pytest.mark.parametrize('config, message', [
    ({'type': 'Nope'}, 'DenseCRF'), ({'type': 'no.such.module.Thing'}, 'not registered'),
    ({'type': 'TestGain'}, 'row'), ({'type': 'TestGain', 'row': 0, 'colour': 1}, 'colour'),
    ({'row': 0}, 'type'), ('TestGain', 'type'), (None, 'type'),
])
def test_wrong_config(config, message):
    with pytest.raises(UserError, match=message):
        build_postprocessor(config)


@pytest.mark.parametrize('configs', [{'type': 'TestGain', 'row': 0}, None, 3])
def test_not_a_list(configs):
    with pytest.raises(UserError, match='list'):
        build_postprocessors(configs)


def test_check_image():
    score_map = ScoreMap(np.ones((2, 3, 4), np.float32), np.arange(1))
    check_image(score_map, np.zeros((3, 4, 3), np.uint8))
    for image in (np.zeros((4, 3, 3), np.uint8), np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3), np.float32),
                  np.zeros((3, 4, 4), np.uint8)):
        with pytest.raises(UserError, match='image'):
            check_image(score_map, image)
