# RCM and MAM on ResNet38: D = 256 features between backbone and CAM head. The paper says nothing of dropout; that of
# the baseline before the CAM head stays.
_base_ = './cam_resnet38.py'
model = dict(
    _delete_=True,
    type='PixelSelfSupervision',
    data_preprocessor={{_base_.model.data_preprocessor}},
    main_net=dict(
        type='CAMClassifier',
        backbone={{_base_.model.backbone}},
        neck=dict(type='FeatureProjection', in_channels=4096, channels=256),
        cam_head=dict(type='CAMHead', in_channels=256, num_classes=None, dropout_ratio=0.5,
                      init_cfg=dict(type='Xavier', distribution='uniform', layer='Conv2d'))),
    rcm=dict(type='RCM', num_classes=None, feat_channels=256),
    mam=dict(type='MAM'),
    inference_hooks={{_base_.model.inference_hooks}},
    test_cfg={{_base_.model.test_cfg}})
