"""SLAM on two ranks, forks of one process so that imports are made once; run as ``slam_ddp_worker.py OUT_DIR``."""
import sys
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel
from seam_toy import loss_and_gradients
from slam_toy import toy_slam

# The ranks have another number of pairs of image and category each.
LABELS = [[1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 0, 1]]


def model():
    return toy_slam(views=[dict(type='RescaleView', scale=0.5)])


def batch():
    return torch.rand(4, 3, 12, 10, generator=torch.Generator().manual_seed(6)) - 0.5


def main(rank: int, out_dir: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{out_dir}/store', rank=rank, world_size=2)
    mine = slice(2 * rank, 2 * rank + 2)
    wrapped = MMDistributedDataParallel(model(), device_ids=None, broadcast_buffers=False)
    losses, gradients = loss_and_gradients(wrapped, batch()[mine], LABELS[mine])
    torch.save((losses, {key.removeprefix('module.'): gradient for key, gradient in gradients.items()}),
               Path(out_dir) / f'rank{rank}.pth')
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    torch.multiprocessing.start_processes(main, args=(sys.argv[1],), nprocs=2, start_method='fork')
