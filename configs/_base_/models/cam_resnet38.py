# The wide pre-activation ResNet38 of PSA and SEAM, output stride 8. conv1a and the first stage are frozen, and so
# is every BatchNorm. Views of a test are resized bicubically, as in the released codes. No ImageNet weights can be had
# from a package registry: see configs/cam/README.md.
model = dict(
    type='CAMClassifier',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    backbone=dict(type='ResNet38', frozen_stages=1, norm_eval=True, norm_frozen=True),
    cam_head=dict(type='CAMHead', in_channels=4096, num_classes=None, dropout_ratio=0.5,
                  init_cfg=dict(type='Xavier', distribution='uniform', layer='Conv2d')),
    inference_hooks=[dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic')],
    test_cfg=dict(class_filter='label', stride=4))
