"""Losses, one file each: a plain function on tensors, and the module that a config names."""
from mmwsss.models.losses.ecr_loss import ECRLoss, equivariant_cross_regularization, keep_highest_foreground
from mmwsss.models.losses.er_loss import ERLoss, equivariant_regularization
from mmwsss.models.losses.min_pooling_loss import MinPoolingLoss, min_pooling

__all__ = ['ECRLoss', 'ERLoss', 'MinPoolingLoss', 'equivariant_cross_regularization', 'equivariant_regularization',
           'keep_highest_foreground', 'min_pooling']
