"""Losses, one file each: a plain function on tensors, and the module that a config names."""
from mmwsss.models.losses.conflict_temperature import background_conflict, class_conflict
from mmwsss.models.losses.ecr_loss import ECRLoss, equivariant_cross_regularization, keep_highest_foreground
from mmwsss.models.losses.er_loss import ERLoss, equivariant_regularization
from mmwsss.models.losses.global_mean import global_mean
from mmwsss.models.losses.mam import MAM
from mmwsss.models.losses.min_pooling_loss import MinPoolingLoss, min_pooling
from mmwsss.models.losses.multi_scale_attention_loss import (
    attention_targets,
    multi_scale_attention,
    multi_scale_cam,
    scale_attention,
)
from mmwsss.models.losses.rcm import RCM
from mmwsss.models.losses.regional_contrast_loss import (
    class_prototypes,
    class_region_masks,
    region_cross_entropy,
    regional_contrast,
    without_incomplete,
)
from mmwsss.models.losses.restricted_activation_loss import (
    RestrictedActivationLoss,
    activation_masks,
    restricted_activation,
)
from mmwsss.models.losses.saliency_conflict_loss import SaliencyConflictLoss, saliency_loss
from mmwsss.models.losses.semantic_loss import (
    ActivationComplementLoss,
    ActivationConsistencyLoss,
    ActivationRegularizationLoss,
    CategoryBackgroundLoss,
    CategoryForegroundLoss,
    SemanticLoss,
    activation_complement,
    activation_consistency,
    activation_regularization,
    category_background,
    category_foreground,
    category_similarity,
    present_categories,
    semantic_cross_entropy,
)

__all__ = [
    'MAM', 'RCM', 'ActivationComplementLoss', 'ActivationConsistencyLoss', 'ActivationRegularizationLoss',
    'CategoryBackgroundLoss', 'CategoryForegroundLoss', 'ECRLoss', 'ERLoss', 'MinPoolingLoss',
    'RestrictedActivationLoss', 'SaliencyConflictLoss', 'SemanticLoss', 'activation_complement',
    'activation_consistency', 'activation_masks', 'activation_regularization', 'attention_targets',
    'background_conflict', 'category_background', 'category_foreground', 'category_similarity', 'class_conflict',
    'class_prototypes', 'class_region_masks', 'equivariant_cross_regularization', 'equivariant_regularization',
    'global_mean', 'keep_highest_foreground', 'min_pooling', 'multi_scale_attention', 'multi_scale_cam',
    'present_categories', 'region_cross_entropy', 'regional_contrast', 'restricted_activation', 'saliency_loss',
    'scale_attention', 'semantic_cross_entropy', 'without_incomplete'
]
