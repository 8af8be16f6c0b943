# SLAM on ResNet38. It needs two checkpoints: that of its encoder (semantic_encoder_resnet38.py), and
# that of the CAM classifier that it starts from (cam_resnet38.py):
# --cfg-options model.encoder.init_cfg.checkpoint=FILE model.backbone.init_cfg.checkpoint=FILE
# model.cam_head.init_cfg.checkpoint=FILE, the last two the same.
_base_ = './cam_resnet38.py'
model = dict(
    _delete_=True,
    type='SLAM',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone=dict(type='ResNet38', frozen_stages=1, norm_eval=True, norm_frozen=True,
                  init_cfg=dict(type='StrictPretrained', checkpoint=None, prefix='backbone')),
    cam_head=dict(type='CAMHead', in_channels=4096, num_classes=None, dropout_ratio=0.5,
                  init_cfg=dict(type='StrictPretrained', checkpoint=None, prefix='cam_head')),
    encoder=dict(type='SemanticEncoder', in_channels=4096, num_classes=None, embed_channels=256,
                 backbone=dict(type='ResNet38'),
                 init_cfg=dict(type='StrictPretrained', checkpoint=None, ignore=(r'^decode\.',))),
    background='complement',
    activation='sigmoid',
    temperature=3.0,
    cam_activation='relu',
    loss_categories='foreground',
    encoder_scale=0.5,
    loss_foreground=dict(type='CategoryForegroundLoss'),
    loss_background=dict(type='CategoryBackgroundLoss'),
    loss_regularization=dict(type='ActivationRegularizationLoss', loss_weight=0.2),
    cls_weight=0.2,
    inference_hooks={{_base_.model.inference_hooks}},
    test_cfg=dict(class_filter='label', stride=4))
