# SLAM on EfficientNet-Lite0; its encoder is that of semantic_encoder_efficientnet_lite0.py, trained before:
# --cfg-options model.encoder.init_cfg.checkpoint=FILE.
_base_ = './cam_efficientnet_lite0.py'
model = dict(
    _delete_=True,
    type='SLAM',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    cam_head=dict(type='ActivationHead', in_channels=1280, num_classes=None),
    encoder=dict(type='SemanticEncoder', in_channels=1280, num_classes=None, embed_channels=256,
                 backbone=dict(type='EfficientNetLite', variant='lite0', output_stride=16),
                 init_cfg=dict(type='StrictPretrained', checkpoint=None, ignore=(r'^decode\.',))),
    views=[dict(type='FlipView'), dict(type='RescaleView', scale=0.5)],
    loss_foreground=dict(type='CategoryForegroundLoss'),
    loss_background=dict(type='CategoryBackgroundLoss'),
    loss_regularization=dict(type='ActivationRegularizationLoss', loss_weight=0.075),
    loss_consistency=dict(type='ActivationConsistencyLoss', loss_weight=0.1),
    inference_hooks={{_base_.model.inference_hooks}},
    test_cfg=dict(class_filter='label', stride=4, normalize='min_max'))  # a sigmoid is nowhere 0
