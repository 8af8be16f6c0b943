"""PixelSelfSupervision on two ranks, forks of one process; run as ``pixel_self_supervision_ddp_worker.py OUT_DIR``."""
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel
from pixel_self_supervision_toy import LABELS, images, loss_and_gradients, toy_model
from two_ranks import group, start

MODELS = {
    'rcm + mam': {},
    'stride': dict(stride=3, rcm=dict(pixel_weighted=True)),
    'shared': dict(support='shared', mam=dict(mode='mmm')),
    'direct': dict(rcm=dict(mode='direct'), mam=None),
    'smm': dict(rcm=None, mam=dict(mode='smm')),
    'batch norm': dict(backbone=dict(norm=True)),
}
STEPS = 2


def run(options, mine=slice(None), wrap=lambda model: model):
    """Some steps of gradient descent: losses and gradients of each, and the state at the end."""
    model = wrap(toy_model(momentum=0.3, **options))
    inner = getattr(model, 'module', model)
    found = []
    for step in range(STEPS):
        losses, gradients = loss_and_gradients(model, images(seed=step)[mine], LABELS[mine])
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
        inner.update_support_net()
        found.append((losses, {name.removeprefix('module.'): gradient.clone() for name, gradient in gradients.items()
                               if gradient is not None}))
    return found, {name: value.clone() for name, value in inner.state_dict().items()}


def main(rank, out_dir):
    with group(rank, out_dir):
        found = {name: run(options, slice(2 * rank, 2 * rank + 2), lambda model: MMDistributedDataParallel(
            model, device_ids=None, broadcast_buffers=False)) for name, options in MODELS.items()}
        torch.save(found, Path(out_dir) / f'rank{rank}.pth')


if __name__ == '__main__':
    start(main)
