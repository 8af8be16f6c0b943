# ImageNet ResNet50 in torchvision's style (stride in the 3x3 convolution; RGB) with output stride 16, as in IRNet: stem
# and first two stages are frozen; of the BatchNorms of the others the statistics are, and scale and shift are trained.
_base_ = './cam_resnet50.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(style='pytorch', frozen_stages=2, norm_eval=True, norm_cfg=dict(type='BN', requires_grad=True)),
    inference_hooks=[dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic')])
