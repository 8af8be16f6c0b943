"""A small AffinityNet and a small IRNet: everything of them but the depth of their backbones."""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

import mmwsss.models  # noqa: F401  registers the components
from mmwsss.registry import MODELS


@MODELS.register_module(force=True)
class PyramidToyBackbone(BaseModule):
    """Means over cells of each stride, through a 1x1 convolution: as many feature maps as strides."""

    def __init__(self, strides, channels=8):
        super().__init__()
        self.strides = strides
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(3, channels, 1) for _ in strides)
        self.norm = torch.nn.BatchNorm2d(channels)

    def forward(self, inputs):
        return tuple(self.norm(conv(F.avg_pool2d(inputs, stride, ceil_mode=True))).relu()
                     for conv, stride in zip(self.convs, self.strides))


def _build(config):
    torch.manual_seed(0)
    model = MODELS.build(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def toy_affinity_net(**kwargs):
    """Grid of stride 4; one feature map is coarser."""
    parts = dict(backbone=dict(type='PyramidToyBackbone', strides=(4, 8)),
                 affinity_head=dict(type='AffinityHead', in_channels=(8, 8), in_indices=(0, 1),
                                    reduced_channels=(3, 4)),
                 loss_affinity=dict(type='AffinityLoss'),
                 random_walk=dict(type='RandomWalk', beta=3, steps=8, radius=3), radius=3, grid_stride=4)
    return _build(dict(type='AffinityNet', **{**parts, **kwargs}))


def toy_irnet(**kwargs):
    in_channels = (8,) * 5
    parts = dict(backbone=dict(type='PyramidToyBackbone', strides=(4, 4, 8, 16, 16)),
                 edge_head=dict(type='EdgeHead', in_channels=in_channels, channels=4, num_groups=2),
                 displacement_head=dict(type='DisplacementHead', in_channels=in_channels, channels=(4, 4, 6, 6, 6),
                                        num_groups=(2, 2, 3, 3, 2), joined_channels=8),
                 loss_affinity=dict(type='AffinityLoss'), loss_displacement=dict(type='DisplacementLoss'),
                 random_walk=dict(type='RandomWalk', beta=5, steps=8, radius=3), radius=4)
    return _build(dict(type='IRNet', **{**parts, **kwargs}))


def two_objects(num, height, width):
    """N x 2 x h x w CAMs in [0, 1]: one object at the top left, one at the top right, little below."""
    maps = 0.1 * torch.rand(num, 2, height, width, generator=torch.Generator().manual_seed(3))
    maps[:, 0, :height // 2, :width // 2] += 0.9
    maps[:, 1, :height // 2, width // 2 + 1:] += 0.7
    return maps


def label_samples(labels):
    """Data samples of a training batch, from N x H x W label maps."""
    result = []
    for label in labels:
        sample = SegDataSample(metainfo=dict(img_path='photo.jpg'))
        sample.gt_sem_seg = PixelData(data=label[None])
        result.append(sample)
    return result


def cam_samples(cams, classes, size, **metainfo):
    """Data samples of a test batch, from a CAM K x h x w and K classes each."""
    result = []
    for cam, present in zip(cams, classes):
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_path='photo.jpg', **metainfo))
        sample.gt_cam = PixelData(data=cam)
        sample.gt_cam_classes = LabelData(label=torch.tensor(present, dtype=torch.int64))
        result.append(sample)
    return result


def loss_and_gradients(model, images, labels):
    """Losses by name, and the gradient of their sum by parameter."""
    losses = model(images, label_samples(labels), mode='loss')
    for parameter in model.parameters():
        parameter.grad = None
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: loss.detach() for name, loss in losses.items()}, gradients
