import os
import random
import resource
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from mmwsss.converters.mxnet_params import read_mxnet_params
from mmwsss.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / 'converters'))
from original_weights import mxnet_file


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {'arg:conv1a_weight': rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
            'arg:bn_gamma': rng.normal(size=5), 'aux:half': rng.normal(size=(2, 1)).astype(np.float16),
            'aux:ü': np.arange(3, dtype=np.uint8), 'arg:i32': np.arange(-2, 2, dtype=np.int32),
            'arg:i8': np.arange(-2, 2, dtype=np.int8).reshape(2, 2), 'arg:i64': np.array([2**40])}


def fails(path, *words):
    with pytest.raises(UserError) as error:
        read_mxnet_params(path)
    assert '\n' not in str(error.value) and str(error.value).startswith(f'{path}: ')
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize('version', [0, 1, 2])
def test_all_layouts_and_types(tmp_path, arrays, version):
    path = tmp_path / 'net.params'
    path.write_bytes(mxnet_file(arrays, version))
    result = read_mxnet_params(path)
    assert list(result) == list(arrays)
    for name, array in arrays.items():
        assert result[name].dtype == array.dtype and result[name].dtype.isnative
        np.testing.assert_array_equal(result[name], array)
        assert result[name].flags.writeable  # torch.from_numpy wants it


def test_bytes_by_hand(tmp_path):
    path = tmp_path / 'net.params'
    path.write_bytes(bytes.fromhex(
        '1201000000000000 0000000000000000 0100000000000000'    # magic, reserved, one array
        'c9fa93f9 00000000 02000000 0100000000000000 0200000000000000'    # version 2, dense, 1 x 2
        '01000000 00000000 00000000 0000803f 000000c0'    # CPU 0, float32, 1 and -2
        '0100000000000000 0500000000000000') + b'arg:w')
    assert {name: array.tolist() for name, array in read_mxnet_params(path).items()} == {'arg:w': [[1, -2]]}


@pytest.mark.parametrize('version', [0, 1, 2])
def test_truncated_anywhere(tmp_path, arrays, version):
    path = tmp_path / 'net.params'
    whole = mxnet_file(arrays, version)
    for length in (*range(0, len(whole), 23), len(whole) - 1):
        path.write_bytes(whole[:length])
        fails(path, 'parameter file of MXNet')


def test_damage_is_an_error_of_the_users_or_none(tmp_path, arrays):
    path = tmp_path / 'net.params'
    rng = random.Random(0)
    for version in (0, 1, 2):
        whole, errors = mxnet_file(arrays, version), 0
        for _ in range(80):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
            path.write_bytes(damaged)
            try:
                read_mxnet_params(path)
            except UserError as error:
                errors += 1
                assert '\n' not in str(error)
        assert errors > 15


def head(count):
    return struct.pack('<QQQ', 0x112, 0, count)


@pytest.mark.parametrize('content, word', [
    (b'', 'no parameter file'),
    (b'PK\x03\x04' + bytes(100), 'no parameter file'),
    (head(2**60) + bytes(100), '0 dimensions'),
    (head(2**60) + mxnet_file({'a': np.ones(3)})[24:], 'damaged'),
    (head(1) + struct.pack('<IiIqqiii', 0xF993FAC9, 0, 2, 2**31, 2**29, 1, 0, 0), 'truncated'),
    (head(1) + struct.pack('<IiIqqiii', 0xF993FAC9, 0, 2, 2**62, 2**62, 1, 0, 0), 'truncated'),
    (head(1) + struct.pack('<IiIqqiii', 0xF993FAC9, 0, 2, -2, -2, 1, 0, 0), 'shape (-2, -2)'),
    (head(1) + struct.pack('<IiIqiii', 0xF993FAC9, 0, 1, 0, 1, 0, 0), 'shape (0,)'),
    (head(1) + struct.pack('<IiI', 0xF993FAC9, 0, 2**31), '2147483648 dimensions'),
    (head(1) + struct.pack('<IIIiii', 2, 2**31, 2**31, 1, 0, 0), 'truncated'),
    (head(1) + struct.pack('<II', 2**32 - 1, 1), 'dimensions'),
    (head(1) + struct.pack('<IiIqiiif', 0xF993FAC9, 0, 1, 1, 1, 0, 12, 0), 'type 12'),
    (head(1) + struct.pack('<Ii', 0xF993FAC9, 1) + bytes(60), 'sparse'),
    (head(0) + struct.pack('<QQ', 1, 2**60), '1 names for 0 arrays'),
    (mxnet_file({'a': np.ones(3)})[:-9] + struct.pack('<Q', 2**60) + b'a', 'truncated'),
    (mxnet_file({'a': np.ones(3)})[:-1] + b'\xff', 'UTF-8'),
    (mxnet_file({'a': np.ones(3)}) + b'x', '1 bytes after its end'),
    (mxnet_file({'a': np.ones(3), 'b': np.ones(3)})[:-1] + b'a', 'one name'),
])
def test_hostile_files(tmp_path, content, word):
    path = tmp_path / 'net.params'
    path.write_bytes(content)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, limits[1]))  # so that any large allocation fails
    try:
        fails(path, word)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_no_file(tmp_path):
    fails(tmp_path / 'none.params', 'no such parameter file')
    fails(tmp_path, 'no such parameter file')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read every file')
def test_unreadable(tmp_path):
    path = tmp_path / 'net.params'
    path.write_bytes(mxnet_file({'a': np.ones(3)}))
    path.chmod(0)
    fails(path, 'Permission denied')
