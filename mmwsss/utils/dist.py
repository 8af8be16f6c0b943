"""Distributed runs on CPUs, which MMEngine's launchers do not know."""
import os
from datetime import timedelta

import torch
import torch.distributed as torch_dist
from mmengine.config import Config
from mmengine.dist import is_distributed
from mmengine.logging import print_log

from mmwsss.utils.errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def init_dist(launcher: str = 'none', timeout_hours: float = 12) -> None:
    """Starts the process group of a run on CPUs; to be called before the Runner is made.

    With CUDA it does nothing: MMEngine's Runner starts the group (``env_cfg.dist_cfg``).

    Args:
        launcher: ``'none'``, or how the processes were started: ``'pytorch'`` (torchrun), ``'slurm'``, ``'mpi'``.
        timeout_hours: How long a process waits for the others. Ranks that make CAMs meet only at the end, and
            one may have had far less to do.

    Raises:
        UserError: If the launcher is unknown, does not work without CUDA, or has not set the environment.
    """
    if launcher not in LAUNCHERS:
        raise UserError(f'--launcher {launcher}: choose one of {", ".join(LAUNCHERS)}')
    if launcher == 'none' or torch.cuda.is_available() or is_distributed():
        return
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} works only with CUDA, and there is none here; start the processes '
                        'with torchrun (tools/dist_train.sh, tools/dist_test.sh) and --launcher pytorch')
    unset = [name for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
             if name not in os.environ]
    if unset:
        raise UserError(f'--launcher pytorch: {", ".join(unset)} not set in the environment; start the processes '
                        'with torchrun (tools/dist_train.sh, tools/dist_test.sh)')
    torch_dist.init_process_group('gloo', timeout=timedelta(hours=timeout_hours))


def patch_cfg_for_cpu_ddp(cfg: Config) -> Config:
    """Makes a config fit for a distributed run on CPUs, in place; otherwise leaves it alone.

    MMEngine gives DistributedDataParallel a GPU's number, which fails for a model on the CPU. SyncBN, which
    needs GPUs as well, becomes BN: each process normalises with its own batch.

    Args:
        cfg: The config; ``find_unused_parameters`` in it has the usual effect.

    Returns:
        ``cfg``.
    """
    if not is_distributed() or torch.cuda.is_available():
        return cfg
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False,
                   find_unused_parameters=cfg.get('find_unused_parameters', False))
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)
    cfg.pop('sync_bn', None)  # converts BN to SyncBN
    if _replace_sync_bn(cfg.get('model')):
        print_log('SyncBN needs GPUs: BN is used instead, with the statistics of each process', logger='current')
    return cfg


def _replace_sync_bn(node: object) -> int:
    # Returns how many it replaced.
    if isinstance(node, (list, tuple)):
        return sum(_replace_sync_bn(item) for item in node)
    if not isinstance(node, dict):
        return 0
    found = node.get('type') in ('SyncBN', 'MMSyncBN')
    if found:
        node['type'] = 'BN'
    return found + sum(_replace_sync_bn(item) for item in node.values())
