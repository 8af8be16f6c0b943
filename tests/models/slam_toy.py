"""A small SLAM and its encoder: everything of them but the depth of their backbones."""
import torch
from seam_toy import SiameseToyBackbone, samples

import mmwsss.models  # noqa: F401  registers the components
from mmwsss.registry import MODELS

assert SiameseToyBackbone  # registered by its module
LOSSES = dict(loss_foreground=dict(type='CategoryForegroundLoss'),
              loss_background=dict(type='CategoryBackgroundLoss'),
              loss_regularization=dict(type='ActivationRegularizationLoss'),
              loss_consistency=dict(type='ActivationConsistencyLoss'))
__all__ = ['LOSSES', 'encoder_config', 'samples', 'toy_encoder', 'toy_slam']


def encoder_config(num_classes=3, **kwargs):
    return dict(dict(type='SemanticEncoder', backbone=dict(type='SiameseToyBackbone'), in_channels=6,
                     num_classes=num_classes, embed_channels=5, patch_size=2), **kwargs)


def _randomise(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def toy_encoder(num_classes=3, **kwargs):
    return _randomise(MODELS.build(encoder_config(num_classes, **kwargs)))


def toy_slam(num_classes=3, encoder=None, background='own', activation='sigmoid', loss_categories='all',
             encoder_scale=1.0, cls_weight=0.0, temperature=1.0, cam_activation='sigmoid', **kwargs):
    """The first reading, of which the others are changes; ``background='complement'`` takes a CAMHead."""
    head = dict(type='ActivationHead' if background == 'own' else 'CAMHead', in_channels=6, num_classes=num_classes)
    parts = dict(backbone=dict(type='SiameseToyBackbone'), cam_head=head, background=background, activation=activation,
                 loss_categories=loss_categories, encoder_scale=encoder_scale, cls_weight=cls_weight,
                 temperature=temperature, cam_activation=cam_activation,
                 encoder=encoder or encoder_config(num_classes), **LOSSES)
    return _randomise(MODELS.build(dict(type='SLAM', **{**parts, **kwargs})))
