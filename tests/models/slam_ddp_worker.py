"""SLAM on two ranks, forks of one process so that imports are made once; run as ``slam_ddp_worker.py OUT_DIR``."""
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel
from seam_toy import loss_and_gradients
from slam_toy import toy_slam
from two_ranks import group, start

# The ranks have another number of pairs of image and category each.
LABELS = [[1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 0, 1]]


def model():
    return toy_slam(views=[dict(type='RescaleView', scale=0.5)])


def batch():
    return torch.rand(4, 3, 12, 10, generator=torch.Generator().manual_seed(6)) - 0.5


def main(rank: int, out_dir: str) -> None:
    with group(rank, out_dir):
        mine = slice(2 * rank, 2 * rank + 2)
        wrapped = MMDistributedDataParallel(model(), device_ids=None, broadcast_buffers=False)
        losses, gradients = loss_and_gradients(wrapped, batch()[mine], LABELS[mine])
        torch.save((losses, {key.removeprefix('module.'): gradient for key, gradient in gradients.items()}),
                   Path(out_dir) / f'rank{rank}.pth')


if __name__ == '__main__':
    start(main)
