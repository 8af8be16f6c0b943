import hashlib

import pytest

from mmwsss.datasets import file_digests as module
from mmwsss.datasets.file_digests import file_digests


def test_only_what_has_changed_is_read(tmp_path, monkeypatch):
    read = []
    real = module.sha256_of_file
    monkeypatch.setattr(module, 'sha256_of_file', lambda path: (read.append(path), real(path))[1])
    paths = [str(tmp_path / name) for name in 'abc']
    for path in paths:
        (tmp_path / path).write_bytes(path.encode())
    expected = {path: hashlib.sha256(path.encode()).hexdigest() for path in paths}
    assert file_digests(paths) == expected and sorted(read) == paths
    read.clear()
    assert file_digests(paths) == expected and read == []
    (tmp_path / 'b').write_bytes(b'other')
    assert file_digests(paths) == {**expected, paths[1]: hashlib.sha256(b'other').hexdigest()}
    assert read == [paths[1]] and file_digests([]) == {}


@pytest.mark.parametrize('damage', ['{', '{"format": "1", "files": {"PATH": [1]}}', '[]',
                                    '{"format": "1", "files": {"PATH": [4, 1, 5]}}'])
def test_a_damaged_cache_is_not_believed(tmp_path, monkeypatch, damage):
    monkeypatch.setenv('MMWSSS_CACHE', str(tmp_path / 'cache'))
    path = tmp_path / 'a'
    path.write_bytes(b'data')
    expected = {str(path): hashlib.sha256(b'data').hexdigest()}
    assert file_digests([str(path)]) == expected
    cache, = (tmp_path / 'cache').iterdir()
    cache.write_text(damage.replace('PATH', str(path)))
    assert file_digests([str(path)]) == expected


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_digests([str(tmp_path / 'gone')])
