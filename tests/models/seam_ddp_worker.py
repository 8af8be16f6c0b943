"""SEAM on two ranks, forks of one process so that imports are made once; run as ``seam_ddp_worker.py OUT_DIR``."""
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel
from seam_reference import random
from seam_toy import WITHOUT_PCM, loss_and_gradients, toy_seam
from two_ranks import group, start

LABELS = [[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]]
MODELS = {'dense': {}, 'blocks': dict(pcm_options=dict(max_entries=2 * 48 * 7)), 'er': WITHOUT_PCM}


def batch():
    return random(4, 3, 16, 12, seed=6).float()


def main(rank: int, out_dir: str) -> None:
    with group(rank, out_dir):
        mine = slice(2 * rank, 2 * rank + 2)
        found = {}
        for name, options in MODELS.items():
            model = MMDistributedDataParallel(toy_seam(**options), device_ids=None, broadcast_buffers=False)
            losses, gradients = loss_and_gradients(model, batch()[mine], LABELS[mine])
            found[name] = losses, {key.removeprefix('module.'): gradient for key, gradient in gradients.items()}
        torch.save(found, Path(out_dir) / f'rank{rank}.pth')


if __name__ == '__main__':
    start(main)
