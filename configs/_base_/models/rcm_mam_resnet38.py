# RCM and MAM on ResNet38: D = 256 features between backbone and CAM head. Between these two there is no dropout, of
# which the paper says nothing: SupportNet has none, and two networks of the same weights would differ.
# main_net.cam_head.dropout_ratio=0.5 is that of the baseline; the backbone's own is dropout_b6, dropout_b7.
_base_ = './cam_resnet38.py'
model = dict(
    _delete_=True,
    type='PixelSelfSupervision',
    data_preprocessor={{_base_.model.data_preprocessor}},
    main_net=dict(
        type='CAMClassifier',
        backbone={{_base_.model.backbone}},
        neck=dict(type='FeatureProjection', in_channels=4096, channels=256),
        cam_head=dict(type='CAMHead', in_channels=256, num_classes=None,
                      init_cfg=dict(type='Xavier', distribution='uniform', layer='Conv2d'))),
    rcm=dict(type='RCM', num_classes=None, feat_channels=256),
    mam=dict(type='MAM'),
    inference_hooks={{_base_.model.inference_hooks}},
    test_cfg={{_base_.model.test_cfg}})
