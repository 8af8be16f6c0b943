# SLAMs' semantic encoder on EfficientNet-Lite0.
_base_ = './cam_efficientnet_lite0.py'
model = dict(
    _delete_=True,
    type='SemanticEncoder',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    in_channels=1280,
    num_classes=None,
    embed_channels=128,
    mask_prob=0.25,
    blank_images=1,
    loss_semantic=dict(type='SemanticLoss'))
