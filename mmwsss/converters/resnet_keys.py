"""ImageNet's ResNets, of torchvision and in caffe style: one kind of keys, two kinds of networks and images."""
from collections.abc import Callable, Mapping

from mmseg.models.backbones import ResNet
from torch import Tensor, nn

from mmwsss.converters.conversion import Source
from mmwsss.engine.input_statistics import STYLES
from mmwsss.engine.weight_init import fold_stem_bias

_IMAGENET = "is ImageNet's classifier"


def _build(depth: int, style: str) -> Callable[[Callable[[str], int]], nn.Module]:
    def build(num_rows: Callable[[str], int]) -> nn.Module:
        width = num_rows('conv1.weight')
        return ResNet(depth=depth, style=style, stem_channels=width, base_channels=width)

    return build


def _fold(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    folded = fold_stem_bias(weights)
    # The key stays, to be accounted for.
    return {**folded, 'conv1.bias': weights['conv1.bias']} if folded is not weights else weights


def _source(depth: int, name: str) -> Source:
    images, style = STYLES[name]
    meta = dict(style=style, images=dict(mean=list(images.mean), std=list(images.std), bgr_to_rgb=images.bgr_to_rgb))
    return Source(
        f"ImageNet's ResNet{depth} in {name} style", _build(depth, style), str, prepare=_fold, meta=meta,
        stem='conv1.weight', left_out={
            'fc.weight': _IMAGENET, 'fc.bias': _IMAGENET,
            'conv1.bias': 'is taken off the running mean of bn1, which is the same'})


RESNET_SOURCES = {f'resnet{depth}_{name}': _source(depth, name) for name in STYLES for depth in (50, 101)}
"""A mmseg ``ResNet`` alone. Both styles have torchvision's keys, which do not tell them apart."""
