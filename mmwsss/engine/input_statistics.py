"""Whether images reach a pretrained backbone as they did in its own training."""
import logging
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmwsss.utils.errors import UserError

# Of the images: the middle, so that large photographs take no longer.
CROP = 320
# Factors between the standard deviation that reaches a BatchNorm and its running one. Photographs of other kinds than
# those of the training make 1.5; the two styles of ResNet are 57 apart.
UNLIKE, ALIKE = 6.0, 3.0
# Share of the largest running variance up to which a channel counts as dead, as many of EfficientNet-Lite do.
DEAD = 1e-4


@dataclass(frozen=True)
class ImageStyle:
    """How images are normalised.

    Attributes:
        name: Of the style.
        mean, std: Of the values from 0 to 255, in the order of the channels.
        bgr_to_rgb: Whether the order is RGB.
    """
    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr_to_rgb: bool

    def normalize(self, image: Tensor) -> Tensor:
        """Normalises an image 3 x H x W, BGR with values from 0 to 255."""
        image = image.flip(0) if self.bgr_to_rgb else image
        mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (image - mean) / std

    @property
    def options(self) -> str:
        """The settings of a data preprocessor, as a command line has them."""
        mean, std = (','.join(f'{value:g}' for value in values) for values in (self.mean, self.std))
        return (f'model.data_preprocessor.mean="[{mean}]" model.data_preprocessor.std="[{std}]" '
                f'model.data_preprocessor.bgr_to_rgb={self.bgr_to_rgb}')


# Name: style of the images, and style of mmseg's ResNet that goes with them.
STYLES = {'caffe': (ImageStyle('caffe', (103.939, 116.779, 123.68), (1.0, 1.0, 1.0), False), 'caffe'),
          'torchvision': (ImageStyle('torchvision', (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), True),
                          'pytorch')}


def input_scale(backbone: nn.Module, images: Sequence[Tensor], num_norms: int = 2) -> float | None:
    """Compares what reaches the first BatchNorms of a backbone with their running statistics.

    The order of the channels cannot be seen this way: for ImageNet's ResNet50 it changes the result by less than one
    percent. Where the file of the weights tells it, :func:`mmwsss.models.utils.normalization.check_normalization`
    compares it.

    Args:
        backbone: The backbone, in any mode; it is left as it was.
        images: Normalised images, each 3 x H x W, on its device.
        num_norms: How many BatchNorms to look at, in the order in which they are run.

    Returns:
        Standard deviation of the inputs by the running one: the median over the channels that are not dead, and the
        geometric mean over the BatchNorms. ``None`` if there is no BatchNorm that has seen anything (the running mean
        and variance of a new one are 0 and 1), or if the images have a single colour.
    """
    norms = [norm for norm in backbone.modules() if isinstance(norm, _BatchNorm) and _has_statistics(norm)]
    if not norms or not images:
        return None
    sums: dict[nn.Module, Tensor] = {}

    def record(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        x = arguments[0].detach().double().transpose(0, 1).flatten(1)
        moments = torch.stack([x.sum(dim=1), (x * x).sum(dim=1), torch.full_like(x[:, 0], x.shape[1])])
        sums[norm] = sums[norm] + moments if norm in sums else moments
        if len(sums) >= num_norms and norm is list(sums)[num_norms - 1]:
            raise _SeenEnough

    handles = [norm.register_forward_pre_hook(record) for norm in norms]
    try:
        with _evaluating(backbone), torch.no_grad():
            for image in images:
                try:
                    backbone(image[None])
                except _SeenEnough:
                    continue
    finally:
        for handle in handles:
            handle.remove()
    logs = []
    for norm, (total, squares, count) in list(sums.items())[:num_norms]:
        variance = (squares / count - (total / count) ** 2).clamp(min=0)
        known = norm.running_var.double()
        alive = known > DEAD * known.max()
        logs.append((variance[alive] / known[alive]).sqrt().median().clamp(min=1e-12).log())
    scale = math.exp(torch.stack(logs).mean().item()) if logs else 0.0
    return scale if scale > 1e-6 else None


class _SeenEnough(Exception):
    """Ends a forward pass."""


def _has_statistics(norm: _BatchNorm) -> bool:
    return norm.running_mean is not None and not (bool((norm.running_mean == 0).all())
                                                  and bool((norm.running_var == 1).all()))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def check_input_statistics(model: nn.Module, dataset: Any, num_images: int = 4) -> None:
    """Refuses weights whose backbone was trained with images that were normalised in another style.

    A ResNet of torchvision and one of caffe have the same keys, but images of the one are 57 times as large as those of
    the other: each trains with the other's weights without a word, and badly.

    Args:
        model: The model with its weights, with a data preprocessor of mmseg or derived from it.
        dataset: The data set that it is to be trained on or tested with; random numbers that its transforms draw are
            given back.
        num_images: How many of its images are looked at.

    Raises:
        UserError: If what reaches a backbone is more than six times as large or small as in its training, and another
            known style would fit.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    backbones = list(_backbones(model))
    if preprocessor is None or not backbones or not getattr(preprocessor, '_enable_normalize', False):
        return
    device = next(backbones[0][1].parameters()).device
    samples = _some_samples(dataset, num_images)
    if not samples:
        return
    raw = [_middle(image).to(device).float() for image, _ in samples]
    given = [preprocessor(dict(inputs=[_middle(image)], data_samples=[sample]), training=False)['inputs'][0].to(device)
             for image, sample in samples]
    for name, backbone in backbones:
        dtype = next(backbone.parameters()).dtype
        scale = input_scale(backbone, [image.to(dtype) for image in given])
        if scale is None or 1 / UNLIKE <= scale <= UNLIKE:
            continue
        amount = f'{scale:.3g} times as large' if scale > 1 else f'{1 / scale:.3g} times as small'
        for style, resnet in STYLES.values():
            other = input_scale(backbone, [style.normalize(image).to(dtype) for image in raw])
            if other is not None and 1 / ALIKE <= other <= ALIKE:
                own = f' model.{name}.style={resnet}' if getattr(backbone, 'style', resnet) != resnet else ''
                raise UserError(f'model.{name}: images reach its first BatchNorms {amount} as in the training of its '
                                f'weights, which are in {style.name} style; give weights of the other style, or '
                                f'--cfg-options {style.options}{own} (check_input_statistics=False: no such check)')
        print_log(f'model.{name}: images reach its first BatchNorms {amount} as in the training of its weights; check '
                  'the mean and std of the data preprocessor', logger='current', level=logging.WARNING)


def _backbones(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    # The innermost: one that caches another's features must not keep those of these images.
    found = {name: module for name, module in model.named_modules() if name.split('.')[-1] == 'backbone'
             and any(isinstance(part, _BatchNorm) for part in module.modules())}
    for name, module in found.items():
        if not any(other.startswith(f'{name}.') for other in found) and 'support_net' not in name.split('.'):
            yield name, module


def _some_samples(dataset: Any, count: int) -> list[tuple[Tensor, Any]]:
    """Image (3 x H x W, as it was loaded) and data sample of some items, evenly spread over the data set."""
    states = random.getstate(), np.random.get_state()
    samples = []
    try:
        with torch.random.fork_rng(devices=[]):
            for index in sorted({len(dataset) * i // count for i in range(count)}) if len(dataset) else ():
                item = dataset[index]
                image, sample = item.get('inputs'), item.get('data_samples')
                if isinstance(image, (list, tuple)):  # views of one image, for test-time augmentation
                    image, sample = image[0], sample[0]
                if isinstance(image, Tensor) and image.ndim == 3 and image.shape[0] == 3:
                    samples.append((image, sample))
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
    return samples


def _middle(image: Tensor) -> Tensor:
    top, left = (max(0, (side - CROP) // 2) for side in image.shape[1:])
    return image[:, top:top + CROP, left:left + CROP]
