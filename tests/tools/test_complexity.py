import math
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmwsss.models import ResNet38


def counted(model, shape):
    """Multiply-adds of the convolutions, layer by layer."""
    total = []
    hooks = [module.register_forward_hook(lambda m, _, out: total.append(
        out[0].numel() * m.in_channels // m.groups * m.kernel_size[0] * m.kernel_size[1]))
        for module in model.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, *shape))
    for hook in hooks:
        hook.remove()
    return sum(total)


def test_network_is_counted_layer_by_layer(load_tool, repo_root):
    tool = load_tool('analysis_tools/complexity.py')
    cfg = Config.fromfile(repo_root / 'configs/cam/cam_r38_voc.py')
    with torch.device('cpu'):
        found = tool.complexity(cfg, (32, 48))
        backbone = ResNet38(frozen_stages=1)
    expected = sum(p.numel() for p in backbone.parameters())
    assert found['params'] == expected + 20 * 4096
    assert found['flops'] == pytest.approx(counted(backbone, (32, 48)))
    assert 0 < found['trained'] < found['params']  # the first stage is frozen


def test_table(load_tool, repo_root, monkeypatch, capsys):
    tool = load_tool('analysis_tools/complexity.py')
    path = repo_root / 'configs/segmentation/deeplab_r50_small.py'
    monkeypatch.setattr(sys, 'argv', ['complexity.py', str(path), '--shape', '64', '64'])
    assert tool.main() == 0
    *_, row = capsys.readouterr().out.splitlines()
    assert row.startswith('| deeplab_r50_small | 64 x 64 |') and float(row.split('|')[5]) > 23


def test_padding_that_depends_on_the_size_is_followed(load_tool, repo_root):
    """EfficientNet-Lite pads by the size of its input, which a tracer cannot follow through a segmentor."""
    tool = load_tool('analysis_tools/complexity.py')
    cfg = Config.fromfile(repo_root / 'configs/segmentation/deeplab_efflite0_small.py')
    outputs = []
    build = tool.MODELS.build

    def built(cfg):
        model = build(cfg)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda m, _, out: outputs.append((
                    out.numel(), out[0].numel() * m.in_channels // m.groups * math.prod(m.kernel_size))))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tool, 'MODELS', SimpleNamespace(build=built))
        found = tool.complexity(cfg, (48, 64))
    assert found['activations'] == sum(count for count, _ in outputs)
    assert found['flops'] == sum(flops for _, flops in outputs) > 0
