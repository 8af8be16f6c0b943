"""Two ranks on the CPU for the tests: a rank that waits in vain ends with its stack instead of hanging.

A worker script calls :func:`start` with a function ``main(rank, folder)`` that works within :func:`group` and writes
``rank{0,1}.pth``; its test calls :func:`run_script`.
"""
import contextlib
import datetime
import faulthandler
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from warm_python import warm_python

SECONDS = 60


@contextlib.contextmanager
def group(rank: int, folder: str | Path, seconds: float = SECONDS) -> Iterator[None]:
    """The process group of this rank, one of two, each with one thread.

    A collective without its partner fails after ``seconds``, not after gloo's half an hour; a rank that waits
    elsewhere writes its stack and exits after twice as long.
    """
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(2 * seconds, exit=True, file=sys.__stderr__)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2,
                                         timeout=datetime.timedelta(seconds=seconds))
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        faulthandler.cancel_dump_traceback_later()


def start(main: Callable[[int, str], None]) -> None:
    """Runs ``main`` on two forks of this process, so that imports are made once; the folder is the only argument."""
    # What DistributedDataParallel imports when it is built: here once, and not beside gloo's threads.
    import torch._dynamo.utils
    torch.multiprocessing.start_processes(main, args=(sys.argv[1],), nprocs=2, start_method='fork')


def fork(main: Callable, *args) -> None:
    """Runs ``main(rank, *args)`` on two forks of this process, for what trains nothing."""
    torch.multiprocessing.start_processes(main, args=args, nprocs=2, start_method='fork')


def run_script(script: str | Path, folder: Path, seconds: float = 5 * SECONDS, attempts: int = 2) -> list:
    """Runs a worker script and returns what its ranks wrote.

    Ranks that wait for each other in vain, as has happened now and then on a loaded machine, are started once more,
    with a warning that holds their stacks. Any other failure is one at once.
    """
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '',
                   'PYTHONPATH': os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    for attempt in range(attempts):
        out = folder / f'attempt{attempt}'
        out.mkdir()
        with open(out / 'log.txt', 'w') as log:
            process = subprocess.Popen([warm_python(), '-W', 'ignore', str(script), str(out)], env=environment,
                                       cwd=Path(__file__).parents[1], stdout=log, stderr=log, start_new_session=True)
            try:
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:  # both ranks, not only their parent
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        text = (out / 'log.txt').read_text()[-6000:]
        if code == 0:
            return [torch.load(out / f'rank{rank}.pth', weights_only=True) for rank in range(2)]
        waited = code is None or 'Timeout' in text or 'Timed out' in text or 'timed out' in text
        assert waited and attempt + 1 < attempts, f'exit code {code}\n{text}'
        warnings.warn(f'two ranks waited for each other in vain and are started again:\n{text}', stacklevel=2)
        time.sleep(1)
    raise AssertionError('no attempt')
