"""Starting and ending distributed runs, on GPUs and on CPUs, which MMEngine's launchers do not know."""
import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as torch_dist
from mmengine.config import Config
from mmengine.dist import barrier, get_rank, is_distributed
from mmengine.dist import init_dist as mmengine_init_dist
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from mmwsss.utils.errors import UserError

# Set by torchrun for the processes that it starts.
TORCHRUN = 'TORCHELASTIC_RUN_ID'
EXIT_CODE_FILE = 'MMWSSS_EXIT_CODE_FILE'
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def init_dist(launcher: str = 'none', timeout_hours: float = 12) -> None:
    """Starts the process group, before anything asks which process it is; a second call does nothing.

    MMEngine's Runner would start it, but a pipeline decides what to do before it makes its first Runner.

    Args:
        launcher: ``'none'``, or how the processes were started: ``'pytorch'`` (torchrun), ``'slurm'``, ``'mpi'``.
        timeout_hours: How long a process waits for the others. While one lists a data set, evaluates CAMs or runs a
            CRF, the others wait; MMEngine's ten or thirty minutes are too short for that.

    Raises:
        UserError: If the launcher is unknown, does not work without CUDA, or has not set the environment.
    """
    if launcher not in LAUNCHERS:
        raise UserError(f'--launcher {launcher}: choose one of {", ".join(LAUNCHERS)}')
    if launcher == 'none' or is_distributed():
        return
    if torch.cuda.is_available():
        mmengine_init_dist(launcher, backend='nccl', timeout=round(3600 * timeout_hours))
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


def end_dist(code: int) -> int:
    """Waits for all processes at the end of a tool, ends the process group, and returns the exit code to use.

    torchrun takes any exit code but 0 for a crash and kills the other processes. Under it a tool that is done
    with skipped files therefore ends with 0; the first process leaves the real code in the file that the environment
    variable ``MMWSSS_EXIT_CODE_FILE`` names, and the scripts ``tools/dist_*.sh`` end with that.

    Args:
        code: The exit code of the tool, without a failure.

    Returns:
        The exit code of this process.
    """
    if is_distributed():
        barrier()
        path = os.environ.get(EXIT_CODE_FILE)
        if path and get_rank() == 0:
            Path(path).write_text(str(code))
        torch_dist.destroy_process_group()
    return 0 if TORCHRUN in os.environ else code


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the model itself: without the wrapper that it has in a distributed run."""
    return model.module if is_model_wrapper(model) else model
