# RCM and MAM on EfficientNet-Lite0.
_base_ = './cam_efficientnet_lite0.py'
model = dict(
    _delete_=True,
    type='PixelSelfSupervision',
    data_preprocessor={{_base_.model.data_preprocessor}},
    main_net=dict(
        type='CAMClassifier',
        backbone={{_base_.model.backbone}},
        neck=dict(type='FeatureProjection', in_channels=1280, channels=256),
        cam_head=dict(type='CAMHead', in_channels=256, num_classes=None)),
    rcm=dict(type='RCM', num_classes=None, feat_channels=256),
    mam=dict(type='MAM'),
    inference_hooks={{_base_.model.inference_hooks}},
    test_cfg={{_base_.model.test_cfg}})
