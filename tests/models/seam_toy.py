"""A small SEAM: everything of it but the depth of its backbone."""
import torch
from mmengine.model import BaseModule
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

import mmwsss.models  # noqa: F401  registers the components
from mmwsss.registry import MODELS

PARTS = dict(pcm=dict(type='PCM', in_channels=(4, 6), reduced_channels=(3, 5), channels=7),
             loss_er=dict(type='ERLoss'), loss_ecr=dict(type='ECRLoss'), loss_min_pool=dict(type='MinPoolingLoss'))
WITHOUT_PCM = dict(pcm=None, loss_ecr=None, loss_min_pool=None)


@MODELS.register_module(force=True)
class SiameseToyBackbone(BaseModule):
    """Two convolutions without bias; ``kernel=1, stride=1`` looks at each pixel by itself."""

    def __init__(self, kernel=3, stride=2):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.second = torch.nn.Conv2d(4, 6, kernel, padding=kernel // 2, bias=False)

    def forward(self, inputs):
        first = self.first(inputs).relu()
        return first, self.second(first).relu()


def toy_seam(num_classes=3, backbone=None, cam_head=None, pcm_options=None, **kwargs):
    """``kwargs`` replace arguments of SEAM, the rest adds to settings of its parts."""
    classifier = dict(type='CAMClassifier', backbone=dict(type='SiameseToyBackbone', **(backbone or {})),
                      cam_head=dict(dict(type='CAMHead', in_channels=6, num_classes=num_classes), **(cam_head or {})))
    parts = {'classifier': classifier, **PARTS, 'pcm': {**PARTS['pcm'], **(pcm_options or {})}}
    model = MODELS.build(dict(type='SEAM', **{**parts, **kwargs}))
    torch.manual_seed(0)
    for parameter in model.parameters():  # those of the classifier come first
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def samples(labels, size=None):
    result = []
    for label in labels:
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_path='photo.jpg'))
        sample.gt_img_label = LabelData(label=torch.tensor(label, dtype=torch.float32))
        result.append(sample)
    return result


def loss_and_gradients(model, images, labels):
    """Losses by name, and the gradient of their sum by parameter; None for a parameter that they do not reach."""
    losses = model(images, samples(labels), mode='loss')
    for parameter in model.parameters():
        parameter.grad = None
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {name: loss.detach() for name, loss in losses.items()}, gradients
