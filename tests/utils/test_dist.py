import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from warm_python import warm_python

from mmwsss.utils import dist
from mmwsss.utils.dist import init_dist, patch_cfg_for_cpu_ddp, unwrapped
from mmwsss.utils.errors import UserError

ENVIRONMENT = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')


@pytest.fixture
def no_group(monkeypatch):
    """Records how a process group would be started."""
    calls = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(dist.torch_dist, 'init_process_group', lambda *args, **kwargs: calls.append((args, kwargs)))
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    return calls


def test_nothing_to_start(no_group, monkeypatch):
    init_dist('none')
    init_dist()
    assert no_group == []


def test_group_on_gpus_is_there_before_any_runner(no_group, monkeypatch):
    calls = []
    monkeypatch.setattr(dist, 'mmengine_init_dist', lambda *args, **kwargs: calls.append((args, kwargs)))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    for launcher in ('pytorch', 'slurm', 'mpi'):
        init_dist(launcher, timeout_hours=2)
    assert calls == [((launcher,), dict(backend='nccl', timeout=7200)) for launcher in ('pytorch', 'slurm', 'mpi')]
    assert no_group == []


def test_exit_code_of_one_process_is_the_tools(monkeypatch):
    monkeypatch.delenv(dist.TORCHRUN, raising=False)
    assert [dist.end_dist(code) for code in (0, 3)] == [0, 3]


def test_torchrun_gets_0_and_the_script_the_code(monkeypatch, tmp_path):
    ended = []
    monkeypatch.setenv(dist.TORCHRUN, 'x')
    monkeypatch.setenv(dist.EXIT_CODE_FILE, str(tmp_path / 'code'))
    monkeypatch.setattr(dist, 'is_distributed', lambda: True)
    monkeypatch.setattr(dist, 'barrier', lambda: ended.append('barrier'))
    monkeypatch.setattr(dist.torch_dist, 'destroy_process_group', lambda: ended.append('group'))
    assert dist.end_dist(3) == 0
    assert (tmp_path / 'code').read_text() == '3' and ended == ['barrier', 'group']


def test_group_on_cpus(no_group, monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, '0')
    init_dist('pytorch', timeout_hours=2)
    (args, kwargs), = no_group
    assert args == ('gloo',) and kwargs['timeout'].total_seconds() == 7200
    monkeypatch.setattr(dist, 'is_distributed', lambda: True)
    init_dist('pytorch')
    assert len(no_group) == 1  # it is there already


@pytest.mark.parametrize('launcher', ['slurm', 'mpi', 'pytorch', 'magic'])
def test_launchers_that_do_not_work(no_group, launcher):
    with pytest.raises(UserError, match=f'--launcher {launcher}') as error:
        init_dist(launcher)
    assert '\n' not in str(error.value)
    if launcher != 'magic':
        assert 'torchrun' in str(error.value)
    assert no_group == []


def test_config_for_cpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    norm = dict(type='SyncBN', requires_grad=True)

    def config(**extra):
        return Config(dict(model=dict(backbone=dict(norm_cfg=norm), heads=[dict(norm_cfg=norm), dict(a=(norm, 1))]),
                           sync_bn='torch', **extra))

    assert patch_cfg_for_cpu_ddp(config()).to_dict() == config().to_dict()  # one process
    monkeypatch.setattr(dist, 'is_distributed', lambda: True)
    cfg = patch_cfg_for_cpu_ddp(config(find_unused_parameters=True))
    assert cfg.model_wrapper_cfg == dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
                                         find_unused_parameters=True)
    assert 'sync_bn' not in cfg
    assert cfg.model.backbone.norm_cfg.type == cfg.model.heads[0].norm_cfg.type == cfg.model.heads[1].a[0].type == 'BN'
    cfg = patch_cfg_for_cpu_ddp(config(model_wrapper_cfg=dict(static_graph=True, find_unused_parameters=True)))
    assert cfg.model_wrapper_cfg.static_graph and cfg.model_wrapper_cfg.find_unused_parameters
    assert cfg.model_wrapper_cfg.device_ids is None
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert patch_cfg_for_cpu_ddp(config()).to_dict() == config().to_dict()


def test_two_processes_train_to_the_same_weights(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    common = {**os.environ, 'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port),
              'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    worker = Path(__file__).with_name('dist_worker.py')
    ranks = [subprocess.Popen([warm_python(), str(worker), str(tmp_path)], cwd=Path(__file__).parents[2],
                              env={**common, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for rank in range(2)]
    try:
        logs = [rank.communicate(timeout=120)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], '\n'.join(logs)
    first, second = (torch.load(tmp_path / f'rank{rank}.pth', weights_only=True) for rank in range(2))
    # Parameters are averaged over the ranks; BatchNorm's statistics are each rank's own.
    buffers = {'norm.running_mean', 'norm.running_var'}
    for key, value in first['weights'].items():
        assert torch.equal(value, second['weights'][key]) != (key in buffers), key
    assert first['world'] == second['world'] == 2 and first['find_unused'] and second['find_unused']
    # One batch of three images: the second rank has none.
    assert first['metrics'] == dict(count=3, mine=3) and second['metrics'] == dict(count=3, mine=0)
    saved = torch.load(tmp_path / 'run/epoch_3.pth', weights_only=True)['state_dict']
    assert all(torch.equal(saved[key], value) for key, value in first['weights'].items())


def test_unwrapped():
    model = torch.nn.Linear(1, 1)
    assert unwrapped(model) is model and unwrapped(torch.nn.DataParallel(model)) is model
