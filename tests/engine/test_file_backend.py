import mmengine.fileio
import pytest

from mmwsss.engine.file_backend import AtomicBackend
from mmwsss.utils import fileio


def test_writes_through_mmengine(tmp_path):
    args = dict(backend='atomic')
    mmengine.fileio.put(b'\x00\xff', tmp_path / 'new/a.bin', backend_args=args)
    mmengine.fileio.put_text('äöü', tmp_path / 'a.txt', backend_args=args)
    assert (tmp_path / 'new/a.bin').read_bytes() == b'\x00\xff'
    assert (tmp_path / 'a.txt').read_text(encoding='utf-8') == 'äöü'
    assert isinstance(mmengine.fileio.get_file_backend(tmp_path, backend_args=args), AtomicBackend)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.bin'
    AtomicBackend().put(b'old', path)

    def fail(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(fileio.os, 'fsync', fail)
    with pytest.raises(OSError, match='No space'):
        AtomicBackend().put(b'new', path)
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]
