import errno
import hashlib
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from warm_python import warm_python

from mmwsss.utils import fileio
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import (
    FOREIGN_LEFTOVER_AGE,
    atomic_path,
    check_output_file,
    nearest_existing,
    pid_scope,
    read_json,
    remove_leftovers,
    sha256_of_file,
    sha256_of_json,
    write_bytes,
    write_json,
    write_lines,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_or_not_there(tmp_path):
    path = tmp_path / 'a.npz'
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == '.npz' and temporary.name.startswith('.')
        temporary.write_bytes(b'half')
        assert not path.exists()
    assert path.read_bytes() == b'half' and names(tmp_path) == ['a.npz']


@pytest.mark.parametrize('error', [ValueError('bug'), KeyboardInterrupt(), SystemExit(1),
                                   OSError(errno.ENOSPC, 'No space left on device')])
@pytest.mark.parametrize('exists', [True, False])
def test_failure_leaves_things_as_they_were(tmp_path, error, exists):
    path = tmp_path / 'a.json'
    if exists:
        path.write_text('old')
    with pytest.raises(type(error)) as raised, atomic_path(path) as temporary:
        temporary.write_text('half')
        raise error
    assert raised.value is error
    assert names(tmp_path) == (['a.json'] if exists else [])
    assert not exists or path.read_text() == 'old'


@pytest.mark.parametrize(('lines', 'text'), [(['é', 'b c'], b'\xc3\xa9\nb c\n'), (iter('ab'), b'a\nb\n'), ({}, b'')])
def test_lines(tmp_path, lines, text):
    write_lines(tmp_path / 'a.txt', lines)
    assert (tmp_path / 'a.txt').read_bytes() == text and names(tmp_path) == ['a.txt']


def test_error_names_the_file(tmp_path):
    with pytest.raises(OSError) as raised:
        write_bytes(tmp_path / 'none/a.bin', b'')
    assert raised.value.filename == str(tmp_path / 'none/a.bin')


def test_error_names_the_file_and_not_the_temporary_one(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(NotADirectoryError) as raised:
        write_bytes(tmp_path / 'file/a.bin', b'')
    assert raised.value.filename == str(tmp_path / 'file/a.bin')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs /dev/full')
def test_device_without_space(tmp_path):
    path = tmp_path / 'a.bin'
    path.write_bytes(b'old')
    with atomic_path(path) as temporary:
        temporary.write_bytes(b'old')
    # The temporary name is known now: make it a device on which every write fails.
    temporary.symlink_to('/dev/full')
    with pytest.raises(OSError) as raised:
        write_bytes(path, b'new')
    assert raised.value.errno == errno.ENOSPC and raised.value.filename == str(path)
    assert path.read_bytes() == b'old' and names(tmp_path) == ['a.bin']


def test_disk_full_while_writing(tmp_path, monkeypatch):
    path = tmp_path / 'a.bin'
    path.write_bytes(b'old')

    def write(self, data):
        raise OSError(errno.ENOSPC, 'No space left on device', str(self))

    monkeypatch.setattr(fileio.Path, 'write_bytes', write)
    with pytest.raises(OSError) as raised:
        write_bytes(path, b'new')
    assert raised.value.errno == errno.ENOSPC and raised.value.filename == str(path)
    assert path.read_bytes() == b'old' and names(tmp_path) == ['a.bin']


def test_data_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(fileio.os, 'fsync', lambda fd: (events.append('fsync'), fsync(fd)))
    monkeypatch.setattr(fileio.os, 'replace', lambda a, b: (events.append('replace'), replace(a, b)))
    write_bytes(tmp_path / 'a', b'x')
    assert events == ['fsync', 'replace']


def _write_half(path, told):
    with atomic_path(path) as temporary:
        temporary.write_bytes(b'half')
        told.send('writing')
        time.sleep(60)


@pytest.fixture
def writer():
    """Starts processes that stop in the middle of writing a file."""
    context = multiprocessing.get_context('fork')
    processes = []

    def start(path):
        told, tells = context.Pipe(duplex=False)
        process = context.Process(target=_write_half, args=(path, tells))
        process.start()
        processes.append(process)
        assert told.poll(60) and told.recv() == 'writing'
        return process

    yield start
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.parametrize('name', ['a.npz', 'a.b.png', 'last_checkpoint', '.hidden', 'a b\u00e9.x.pth'])
def test_kill_leaves_the_old_file_and_what_it_leaves_besides_can_be_removed(tmp_path, writer, name):
    path = tmp_path / 'sub' / name
    path.parent.mkdir()
    path.write_bytes(b'old')
    process = writer(path)
    temporary, = {*path.parent.iterdir()} - {path}
    # It is being written, however long that takes.
    os.utime(temporary, (0, 0))
    assert remove_leftovers(tmp_path, recursive=True) == [] and temporary.exists()
    process.kill()
    process.join(timeout=30)
    assert process.exitcode == -signal.SIGKILL
    assert path.read_bytes() == b'old' and temporary.exists()
    assert remove_leftovers(tmp_path) == [] and temporary.exists()
    assert remove_leftovers(tmp_path, recursive=True) == [temporary]
    assert names(path.parent) == [name] and path.read_bytes() == b'old'


def test_first_file_in_a_folder_removes_what_killed_processes_left(tmp_path, leftover):
    gone = [leftover(tmp_path / name) for name in ('a.png', 'b.json')]
    stays = [leftover(tmp_path / 'a.png', alive=True), leftover(tmp_path / 'sub/a.png')]
    write_bytes(tmp_path / 'a.png', b'whole')
    assert all(path.exists() for path in stays) and not any(path.exists() for path in gone)
    later = leftover(tmp_path / 'b.json')
    write_bytes(tmp_path / 'b.json', b'whole')
    assert later.exists()  # a folder is looked through once
    write_bytes(tmp_path / 'sub/b.png', b'whole')
    assert not stays[1].exists()


@pytest.mark.parametrize('age, left', [(0, False), (3600, False), (FOREIGN_LEFTOVER_AGE + 60, True)])
def test_leftover_of_another_machine_goes_when_it_is_old(tmp_path, age, left):
    # No process here has this pid, and one has this one; neither tells anything about the other machine.
    for pid in (2**22 + 1, os.getpid()):
        path = tmp_path / f'.a.0-{pid}-{"0" * 8}.tmp.npz'
        assert pid_scope() not in path.name
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    assert len(remove_leftovers(tmp_path)) == 2 * left
    assert len(names(tmp_path)) == 2 - 2 * left


def test_other_files_are_no_leftovers(tmp_path):
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    end = f'0-{dead.pid}-{pid_scope()}.tmp.npz'
    for name in (f'a.{end}', f'.a.{end}.bak', f'.a.{end[:-4]}x', f'.a.0-{dead.pid}.tmp.npz', f'.{end}', 'a.tmp',
                 '.a.npz'):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    before = names(tmp_path)
    assert remove_leftovers(tmp_path, recursive=True) == [] and names(tmp_path) == before
    assert remove_leftovers(tmp_path / 'none') == []
    (tmp_path / f'.a.{end}').touch()
    assert len(remove_leftovers(tmp_path)) == 1 and names(tmp_path) == before


def test_processes_of_a_machine_share_its_scope():
    done = subprocess.run([warm_python(), '-c', 'from mmwsss.utils.fileio import pid_scope; print(pid_scope())'],
                          env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}, capture_output=True, text=True,
                          check=True)
    assert done.stdout.strip() == pid_scope()


def _write_often(path, value, count):
    for _ in range(count):
        write_bytes(path, bytes([value]) * 100_000)


def test_two_writers_of_one_file(tmp_path):
    path = tmp_path / 'a.bin'
    write_bytes(path, b'\x01' * 100_000)
    context = multiprocessing.get_context('fork')
    writers = [context.Process(target=_write_often, args=(path, value, 40)) for value in (1, 2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        data = path.read_bytes()
        assert len(data) == 100_000
        seen |= set(data[:1] + data[-1:])
        assert data[0] == data[-1]
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert names(tmp_path) == ['a.bin'] and seen <= {1, 2}


def test_nested_writers_in_one_process_do_not_lose_a_file(tmp_path):
    with atomic_path(tmp_path / 'a.bin') as first, atomic_path(tmp_path / 'b.bin') as second:
        assert first != second
        first.write_bytes(b'a')
        second.write_bytes(b'b')
    assert (tmp_path / 'a.bin').read_bytes() == b'a' and (tmp_path / 'b.bin').read_bytes() == b'b'


def test_json(tmp_path):
    path = tmp_path / 'a.json'
    assert read_json(path) is None
    write_json(path, dict(b=[1, 2.5], a=None))
    assert json.loads(path.read_text()) == read_json(path) == dict(a=None, b=[1, 2.5])
    assert path.read_text().index('"a"') < path.read_text().index('"b"') and path.read_text().endswith('\n')
    with pytest.raises(ValueError):
        write_json(path, math.nan)  # no json
    assert read_json(path) == dict(a=None, b=[1, 2.5])


def test_errors_without_a_name_get_one(tmp_path):
    for error, name in ((OSError(errno.ENOSPC, 'full'), str(tmp_path)), (OSError(errno.ENOSPC, 'full', 'own'), 'own')):
        with pytest.raises(OSError, match='full') as raised, fileio.naming_errors(tmp_path):
            raise error
        assert raised.value.filename == name


def test_sha256(tmp_path):
    data = bytes(range(256)) * 9000  # more than two blocks
    (tmp_path / 'a').write_bytes(data)
    assert sha256_of_file(tmp_path / 'a') == hashlib.sha256(data).hexdigest()
    assert sha256_of_json(dict(b=1, a=2)) == sha256_of_json(dict(a=2, b=1)) != sha256_of_json(dict(a=2, b=2))
    assert sha256_of_json([1]) == hashlib.sha256(b'[1]').hexdigest()


def test_files_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    for path, message in ((tmp_path, ': is a folder; name a file in it'),
                          (tmp_path / 'file/a/b.json', 'file is no folder')):
        with pytest.raises(UserError, match=message):
            check_output_file(path)
    monkeypatch.chdir(tmp_path)
    for path in ('a.json', 'file', 'new/folder/a.json', tmp_path / 'file'):
        check_output_file(path)
    assert [path.name for path in tmp_path.iterdir()] == ['file']
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may write anywhere
    with pytest.raises(UserError, match='is closed to you; choose another place'):
        check_output_file('a.json')


def test_nearest_existing(tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'file').touch()
    assert nearest_existing(tmp_path / 'a') == nearest_existing(tmp_path / 'a/b/c') == tmp_path / 'a'
    assert nearest_existing(tmp_path / 'file/b') == tmp_path / 'file'
    monkeypatch.chdir(tmp_path)
    assert nearest_existing('x/y') == tmp_path
