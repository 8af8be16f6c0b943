# SEAM on ResNet38: the pixel correlation module sees the image, conv4 and conv5. Its maps are normalised by minimum and
# maximum, as in the released code: a revised map is a weighted mean and seldom reaches zero by itself.
_base_ = './cam_resnet38.py'
model = dict(
    _delete_=True,
    type='SEAM',
    data_preprocessor={{_base_.model.data_preprocessor}},
    classifier=dict(type='CAMClassifier', backbone={{_base_.model.backbone}}, cam_head={{_base_.model.cam_head}}),
    pcm=dict(type='PCM', in_channels=(512, 1024), in_indices=(0, 1)),
    views=[dict(type='RescaleView', scale=0.3)],
    loss_er=dict(type='ERLoss'),
    loss_ecr=dict(type='ECRLoss', hard_ratio=0.2),
    loss_min_pool=dict(type='MinPoolingLoss'),
    # As in the released code: maps are resized to their view with aligned corners, from there to the image, and
    # normalised at the image's size. test_cfg.stride=1 keeps that size in the CAM files.
    inference_hooks=[dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, stride=1,
                          interpolation='bicubic', align_views=True)],
    test_cfg=dict(class_filter='label', stride=4, normalize='min_max', full_size=True))
