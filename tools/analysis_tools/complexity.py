"""FLOPs and parameters of the models of configs: complexity.py CONFIG ... [--shape H W].

They are counted by PyTorch in a forward pass of the network that is trained, without its losses: of a model of CAMs
its CAM function without inference hooks. Convolutions and products of matrices are counted, what is done element by
element is not. A multiplication and an addition count as one, as in the papers' tables.
"""
import argparse
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import backbones_of, fill_num_classes, read_config
from mmwsss.engine.setup import setup
from mmwsss.registry import MODELS
from mmwsss.utils.errors import EXIT_DONE, UserError


def _forward(model: nn.Module, inputs: torch.Tensor) -> Any:
    """Runs the network of a model on a batch of images."""
    if hasattr(model, 'decode_head'):
        size = inputs.shape[2:]
        return model.encode_decode(inputs, [dict(img_shape=size, ori_shape=size, pad_shape=size)])
    for name in ('main_net', 'classifier'):
        model = getattr(model, name, model)
    return model.backbone(inputs)


def complexity(cfg: Config, shape: tuple[int, int], num_classes: int = 20) -> dict[str, float]:
    """Counts the FLOPs and parameters of a config's model.

    Args:
        cfg: The config; its pretrained weights are not loaded.
        shape: (H, W) of the image.
        num_classes: Foreground classes, where the config takes them from the data.

    Returns:
        ``flops``, multiply-adds of the backbone (of a segmentor: of all) for one image; ``activations``, numbers that
        its convolutions put out, which a training keeps for its backward pass; ``params``, of the whole model,
        and ``trained``, how many of these learn.
    """
    cfg = cfg.copy()
    for _, backbone in backbones_of(cfg.model):
        backbone['init_cfg'] = None
    fill_num_classes(cfg.model, num_classes + ('decode_head' in cfg.model))
    init_default_scope(cfg.get('default_scope', 'mmwsss'))
    model = MODELS.build(cfg.model).eval()
    params = list(model.parameters())
    activations = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: activations.append(output.numel()))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        _forward(model, torch.zeros(1, 3, *shape))
    # It counts a multiplication and an addition as two.
    return dict(flops=counter.get_total_flops() / 2, activations=float(sum(activations)),
                params=sum(p.numel() for p in params), trained=sum(p.numel() for p in params if p.requires_grad))


def main() -> int:
    """Prints a row for each config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config of a model')
    parser.add_argument('--shape', nargs=2, type=int, metavar=('H', 'W'), help='size of the image; default the crop')
    parser.add_argument('--num-classes', type=int, default=20, help='foreground classes; default %(default)s')
    args = parser.parse_args()
    setup()
    print('| config | image | GFLOPs (multiply-adds) | activations, M | parameters, M | of which trained, M |\n'
          '|---|---|---|---|---|---|')
    for path in args.configs:
        cfg = read_config(path)
        if cfg.get('model') is None:
            raise UserError(f'{path}: has no model')
        shape = tuple(args.shape or (cfg.model.get('data_preprocessor') or {}).get('size') or (448, 448))
        found = complexity(cfg, shape, args.num_classes)
        print(f'| {Path(path).stem} | {shape[0]} x {shape[1]} | {found["flops"] / 1e9:.0f} | '
              f'{found["activations"] / 1e6:.0f} | {found["params"] / 1e6:.1f} | '
              f'{found["trained"] / 1e6:.1f} |', flush=True)
    return EXIT_DONE


if __name__ == '__main__':
    run_cli(main)
