# SLAMs' semantic encoder on ResNet38.
_base_ = './cam_resnet38.py'
model = dict(
    _delete_=True,
    type='SemanticEncoder',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    in_channels=4096,
    num_classes=None,
    embed_channels=256,
    mask_prob=0.25,
    blank_images=1,
    loss_semantic=dict(type='SemanticLoss'))
