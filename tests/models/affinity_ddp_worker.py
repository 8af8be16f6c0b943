"""AffinityNet and IRNet on two ranks, forks of one process; run as ``affinity_ddp_worker.py OUT_DIR``."""
from pathlib import Path

import torch
from affinity_reference import random, random_labels
from affinity_toy import loss_and_gradients, toy_affinity_net, toy_irnet
from mmengine.model import MMDistributedDataParallel
from two_ranks import group, start

from mmwsss.models.losses import global_mean

MODELS = dict(affinity_net=toy_affinity_net, irnet=toy_irnet)


def batch():
    return random(4, 3, 26, 30, seed=6).float()


def labels():
    """The ranks have very different numbers of pairs; the second has no foreground."""
    maps = random_labels(4, 7, 8, seed=1)
    maps[2:] = maps[2:].where(maps[2:] > 200, torch.zeros(()).long())
    maps[2:, :5] = 255
    return maps


def main(rank: int, out_dir: str) -> None:
    with group(rank, out_dir):
        mine = slice(2 * rank, 2 * rank + 2)
        found = {}
        for name, toy in MODELS.items():
            model = MMDistributedDataParallel(toy(), device_ids=None, broadcast_buffers=False)
            losses, gradients = loss_and_gradients(model, batch()[mine], labels()[mine])
            found[name] = losses, {key.removeprefix('module.'): gradient for key, gradient in gradients.items()}
        model = toy_irnet()
        model.update_mean_displacement([batch()[:3]] if rank == 0 else [batch()[3:]])
        found['mean'] = model.displacement_head.mean_displacement
        counts = torch.tensor([1 + rank, 0])
        found['global_mean'] = global_mean(torch.tensor([6.0, 0.0]), counts), counts
        torch.save(found, Path(out_dir) / f'rank{rank}.pth')


if __name__ == '__main__':
    start(main)
