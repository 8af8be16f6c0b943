import io
from collections import Counter, OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

from mmwsss.engine.weights_only import UnsupportedTypeError, from_weights_only, to_weights_only


def through_file(value):
    buffer = io.BytesIO()
    torch.save(to_weights_only(value), buffer)
    buffer.seek(0)
    return from_weights_only(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize('value', [
    None, True, 3, 2.5, 1j, 'text', b'bytes', (1, [2, (3,)]), {}, {'a': {1: None}}, {1, 2}, torch.float16,
    torch.Size([1, 2]), OrderedDict(b=1, a=2)])
def test_same_value_and_type(value):
    result = through_file(value)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize('value, expected', [
    (np.float64(0.1), 0.1), (np.float32(0.5), 0.5), (np.int8(3), 3), (np.bool_(True), True), (np.str_('a'), 'a'),
    (Path('a/b'), 'a/b'), (Counter([1, 1]), {1: 2}), (ConfigDict(a=dict(b=1)), {'a': {'b': 1}}),
    (namedtuple('Point', 'x y')(1, 2), (1, 2)), ({np.int64(1): np.int64(2)}, {1: 2})])
def test_simplified(value, expected):
    result = through_file(value)
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize('array', [
    np.arange(6.).reshape(2, 3)[:, ::-1], np.array(3), np.zeros((0, 2), np.int8), np.array([True, False]),
    np.arange(3, dtype='>i4'), np.array([1 + 2j]), np.float16([0.1])])
def test_arrays(array):
    result = through_file([array])[0]
    assert isinstance(result, np.ndarray)
    assert result.dtype == array.dtype.newbyteorder('=') and result.shape == array.shape
    assert np.array_equal(result, array)


def test_history_buffer_goes_on():
    buffer = HistoryBuffer([1., 2.], [1, 3], max_length=3)
    result = through_file(dict(loss=buffer))['loss']
    for value in (4., 5.):
        buffer.update(value)
        result.update(value)
    for a, b in zip(result.data, buffer.data):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    assert result.mean(2) == buffer.mean(2)
    empty = through_file(HistoryBuffer())
    assert len(empty.data[0]) == 0


def test_state_dict_keeps_its_versions():
    state_dict = torch.nn.BatchNorm2d(2).state_dict()
    result = through_file(dict(state_dict=state_dict))['state_dict']
    assert type(result) is OrderedDict and result._metadata == state_dict._metadata
    assert all(torch.equal(result[key], value) for key, value in state_dict.items())


def test_tensors_are_not_copied():
    tensor = torch.ones(2)
    assert to_weights_only([tensor])[0] is tensor


@pytest.mark.parametrize('value, where', [
    (object(), 'checkpoint is a object'), ([1, {'a': lambda: 0}], r"checkpoint\[1\]\['a'\] is a function"),
    ({'a': np.array([object()])}, r"checkpoint\['a'\] is a ndarray of object"),
    (np.array(['a']), 'ndarray of <U1'), (np.datetime64('2020-01-01'), 'datetime64'),
    (torch.nn.Linear(1, 1), 'Linear')])
def test_refused(value, where):
    with pytest.raises(UnsupportedTypeError, match=where):
        to_weights_only(value)
