"""RCM and MAM on two ranks, forks of one process; run as ``rcm_mam_ddp_worker.py OUT_DIR``."""
from pathlib import Path

import torch
from rcm_mam_reference import random, random_cam
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_ranks import group, start

from mmwsss.models.losses.mam import MAM
from mmwsss.models.losses.rcm import RCM

# Two batches. In the first, class 0 is on one rank only and class 2 nowhere; in the second, class 1 is missing.
LABELS = torch.tensor([[[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], [[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 1]]])
OPTIONS = {
    'default': ({}, {}),
    'pixels': (dict(pixel_weighted=True, log=False), dict(mode='mmm', reduction='sum')),
    'balanced': (dict(normalize='balanced'), dict(mode='smm')),
    'class_sum': (dict(normalize='class_sum'), dict(renormalize=True)),
    'sums': (dict(normalize='none'), dict(mode='smm')),
    'direct': (dict(mode='direct'), dict(reduction='sum')),
}


class Toy(nn.Module):
    """Features and CAMs that are what the weights say, of two by two networks."""

    def __init__(self, rcm, mam):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 1, bias=False)
        self.cam = nn.Conv2d(4, 3, 1, bias=False)
        self.conv.weight.data = random(4, 2, 1, 1, seed=1)
        self.cam.weight.data = random(3, 4, 1, 1, seed=2)
        self.rcm = RCM(num_classes=3, feat_channels=4, **rcm).double()
        self.mam = MAM(**mam)

    def forward(self, inputs, support_features, support_cams, labels):
        features = [self.conv(x) for x in inputs]
        cams = [self.cam(x).sigmoid() for x in features]
        return (self.rcm(features[1], cams[1], support_features, support_cams[1], labels),
                self.mam(cams, support_cams, labels))


def run(options, mine=slice(None), wrap=lambda model: model):
    """Losses and gradients of both batches, and the bank after them."""
    model = wrap(Toy(*options))
    found = {}
    for step, labels in enumerate(LABELS):
        inputs = random(3, 4, 2, 5, 6, seed=3 + step)[:, mine]
        support = random(4, 4, 5, 6, seed=5 + step)[mine], random_cam(3, 4, 3, 5, 6, seed=7 + step)[:, mine]
        losses = model(inputs, *support, labels[mine])
        model.zero_grad()
        sum(losses).backward()
        found[f'losses{step}'] = torch.stack(losses).detach()
        tensors = {name: parameter.grad for name, parameter in model.named_parameters()} | dict(model.named_buffers())
        found.update({f'{name.removeprefix("module.")}{step}': tensor.clone() for name, tensor in tensors.items()})
    return found


def main(rank, out_dir):
    with group(rank, out_dir):
        found = {name: run(options, slice(2 * rank, 2 * rank + 2),
                           lambda model: DistributedDataParallel(model, broadcast_buffers=False))
                 for name, options in OPTIONS.items()}
        torch.save(found, Path(out_dir) / f'rank{rank}.pth')


if __name__ == '__main__':
    start(main)
