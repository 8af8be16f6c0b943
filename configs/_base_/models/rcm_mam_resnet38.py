# RCM and MAM on ResNet38: D = 256 features between backbone and CAM head. There is no dropout, of which the paper says
# nothing: SupportNet has none, and the CAMs of two networks of the same weights would differ. PSA's classifier has
# main_net.backbone.dropout_b6=0.3, main_net.backbone.dropout_b7=0.5 and main_net.cam_head.dropout_ratio=0.5.
_base_ = './cam_resnet38.py'
model = dict(
    _delete_=True,
    type='PixelSelfSupervision',
    data_preprocessor={{_base_.model.data_preprocessor}},
    main_net=dict(
        type='CAMClassifier',
        backbone=dict(type='ResNet38', frozen_stages=1, norm_eval=True, norm_frozen=True, dropout_b6=0.0,
                      dropout_b7=0.0),
        neck=dict(type='FeatureProjection', in_channels=4096, channels=256),
        cam_head=dict(type='CAMHead', in_channels=256, num_classes=None,
                      init_cfg=dict(type='Xavier', distribution='uniform', layer='Conv2d'))),
    rcm=dict(type='RCM', num_classes=None, feat_channels=256),
    mam=dict(type='MAM'),
    inference_hooks={{_base_.model.inference_hooks}},
    test_cfg={{_base_.model.test_cfg}})
