"""A small PixelSelfSupervision: everything of it but the depth of its backbone."""
import torch
from mmengine.model import BaseModule
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

import mmwsss.models  # noqa: F401  registers the components
from mmwsss.registry import MODELS

LABELS = [[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]]


@MODELS.register_module(force=True)
class SelfSupervisedToyBackbone(BaseModule):
    """Two convolutions of stride 2 and 1, with a BatchNorm and dropout if wanted."""

    def __init__(self, norm=False, dropout=0.0):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(4) if norm else torch.nn.Identity()
        self.dropout = torch.nn.Dropout(dropout)
        self.second = torch.nn.Conv2d(4, 6, 3, padding=1)

    def forward(self, inputs):
        first = self.norm(self.first(inputs)).relu()
        return first, self.second(self.dropout(first)).relu()


def main_net_cfg(**backbone):
    return dict(type='CAMClassifier', backbone=dict(type='SelfSupervisedToyBackbone', **backbone),
                neck=dict(type='FeatureProjection', in_channels=6, channels=5),
                cam_head=dict(type='CAMHead', in_channels=5, num_classes=3))


def toy_cfg(backbone=None, rcm=(), mam=(), **kwargs):
    """``rcm`` and ``mam`` add to settings of the modules, or are None; ``kwargs`` are of the whole model."""
    return dict(type='PixelSelfSupervision', main_net=main_net_cfg(**(backbone or {})),
                rcm=rcm if rcm is None else dict(dict(type='RCM', num_classes=3, feat_channels=5), **dict(rcm)),
                mam=mam if mam is None else dict(dict(type='MAM'), **dict(mam)), **kwargs)


def toy_model(seed=0, **kwargs):
    """A model in training mode, MainNet and SupportNet of different weights."""
    model = MODELS.build(toy_cfg(**kwargs)).train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for net in (model.main_net, model.support_net):
            for parameter in net.parameters() if net else ():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return model


def samples(labels=LABELS):
    result = []
    for label in labels:
        sample = SegDataSample(metainfo=dict(ori_shape=(16, 12), img_shape=(16, 12), img_path='photo.jpg'))
        sample.gt_img_label = LabelData(label=torch.tensor(label, dtype=torch.float32))
        result.append(sample)
    return result


def images(num_images=4, size=(16, 12), seed=0):
    return torch.randn(num_images, 3, *size, generator=torch.Generator().manual_seed(seed))


def loss_and_gradients(model, inputs, labels=LABELS):
    """Losses by name, and the gradient of their sum by parameter; None for a parameter that they do not reach."""
    losses = model(inputs, samples(labels), mode='loss')
    for parameter in model.parameters():
        parameter.grad = None
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {name: loss.detach() for name, loss in losses.items()}, gradients
