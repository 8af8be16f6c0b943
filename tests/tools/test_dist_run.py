"""What ``tools/dist_run.sh`` does before torchrun, which a script in place of Python shows."""
import os
import socket
import subprocess
import sys

import pytest


@pytest.fixture
def dist_run(repo_root, tmp_path):
    """Runs it with a Python that finds ports as ever, and else says how it was called: (exit code, lines, stderr)."""
    fake = tmp_path / 'python'
    fake.write_text(f'#!/usr/bin/env bash\n[ "$1" = -c ] && exec {sys.executable} "$@"\n'
                    'printf "%s\\n" "threads=${OMP_NUM_THREADS:-}" "$@"\n')
    fake.chmod(0o755)

    def run(*words, **variables):
        inherited = {key: value for key, value in os.environ.items()
                     if key not in ('PORT', 'NNODES', 'NODE_RANK', 'MASTER_ADDR', 'OMP_NUM_THREADS')}
        done = subprocess.run(['bash', str(repo_root / 'tools/dist_run.sh'), *words], capture_output=True, text=True,
                              timeout=60, check=False, env=dict(inherited, PYTHON=str(fake), **variables))
        return done.returncode, done.stdout.splitlines(), done.stderr
    return run


@pytest.fixture
def port_in_use():
    with socket.socket() as server:
        server.bind(('', 0))
        server.listen()
        yield str(server.getsockname()[1])


def port_of(lines):
    return next(line.partition('=')[2] for line in lines if line.startswith('--master_port='))


def test_a_free_port_is_taken(dist_run):
    ports = set()
    for _ in range(2):
        code, lines, _ = dist_run('train', '2', 'config.py')
        assert code == 0 and lines[-3:] == ['config.py', '--launcher', 'pytorch']
        assert lines[-4].endswith('/tools/train.py')
        ports.add(port_of(lines))
    assert all(1024 <= int(port) <= 65535 for port in ports)


def test_a_port_in_use_is_one_line(dist_run, port_in_use):
    for variables in (dict(PORT=port_in_use), dict(PORT=port_in_use, NNODES='2')):
        code, lines, err = dist_run('train', '2', 'config.py', **variables)
        assert code == 1 and lines == [] and err.count('\n') == 1
        assert f'error: port {port_in_use} cannot be used (Address already in use); name another one with PORT=' in err


def test_several_machines_share_a_port(dist_run, port_in_use):
    # The port is the first machine's: what this one has there does not matter.
    code, lines, _ = dist_run('train', '2', NNODES='2', NODE_RANK='1', PORT=port_in_use, MASTER_ADDR='10.0.0.1')
    assert code == 0 and port_of(lines) == port_in_use and '--master_addr=10.0.0.1' in lines
    assert port_of(dist_run('train', '2', NNODES='2', NODE_RANK='1')[1]) == '29500'


@pytest.mark.parametrize(('words', 'variables', 'message'), [
    (['train', 'two'], {}, "NUM_PROCESSES is a number of processes, not 'two'"),
    (['trian', '2'], {}, 'there is no tools/trian.py'), (['train', '2'], dict(PORT='http'), 'PORT=http is no port'),
    (['train', '2'], dict(PORT='99999'), 'PORT=99999 is no port')])
def test_mistakes_are_one_line(dist_run, words, variables, message):
    code, lines, err = dist_run(*words, **variables)
    assert code == 1 and lines == [] and err.startswith('error: ') and message in err and err.count('\n') == 1


def test_the_cores_are_shared_out(dist_run):
    cores = len(os.sched_getaffinity(0))
    assert dist_run('train', '1')[1][0] == f'threads={cores}'
    assert dist_run('train', str(2 * cores))[1][0] == 'threads=1'
    assert dist_run('train', '2', OMP_NUM_THREADS='3')[1][0] == 'threads=3'
