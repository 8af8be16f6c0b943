"""FLOPs and parameters of the models of configs: complexity.py CONFIG ... [--shape H W].

They are counted by MMEngine for a forward pass of the network that is trained, without its losses: of a model of CAMs
its CAM function without inference hooks. A multiplication and an addition count as one, as in the papers' tables.
"""
import argparse
from pathlib import Path
from typing import Any

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import backbones_of, fill_num_classes, read_config
from mmwsss.engine.setup import setup
from mmwsss.registry import MODELS
from mmwsss.utils.errors import EXIT_DONE, UserError


class _Forward(nn.Module):
    """The network of a model as a function of a batch of images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> Any:
        model = self.model
        if hasattr(model, 'decode_head'):
            return model.encode_decode(inputs, [dict(img_shape=inputs.shape[2:], ori_shape=inputs.shape[2:],
                                                     pad_shape=inputs.shape[2:])])
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
    with torch.no_grad():
        found = get_model_complexity_info(_Forward(model), (3, *shape), show_table=False, show_arch=False)
    return dict(flops=float(found['flops']), activations=float(found['activations']),
                params=sum(p.numel() for p in params), trained=sum(p.numel() for p in params if p.requires_grad))


def main() -> int:
    """Prints a row for each config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config of a model')
    parser.add_argument('--shape', nargs=2, type=int, metavar=('H', 'W'), help='size of the image; default the crop')
    parser.add_argument('--num-classes', type=int, default=20, help='foreground classes; default %(default)s')
    args = parser.parse_args()
    setup()
    MMLogger.get_current_instance().setLevel('ERROR')  # of operators that are not counted, such as BatchNorm
    print('| config | image | GFLOPs (multiply-adds) | activations, M | parameters, M | of which trained, M |\n'
          '|---|---|---|---|---|---|')
    for path in args.configs:
        cfg = read_config(path)
        if cfg.get('model') is None:
            raise UserError(f'{path}: has no model')
        shape = tuple(args.shape or (cfg.model.get('data_preprocessor') or {}).get('size') or (448, 448))
        try:
            found = complexity(cfg, shape, args.num_classes)
        except RuntimeError as error:  # torch's tracer does not follow every network
            reason = str(error).splitlines()[0]
            raise UserError(f'{path}: cannot be traced, so nothing is counted ({reason})') from error
        print(f'| {Path(path).stem} | {shape[0]} x {shape[1]} | {found["flops"] / 1e9:.0f} | '
              f'{found["activations"] / 1e6:.0f} | {found["params"] / 1e6:.1f} | '
              f'{found["trained"] / 1e6:.1f} |', flush=True)
    return EXIT_DONE


if __name__ == '__main__':
    run_cli(main)
