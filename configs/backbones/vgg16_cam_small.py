# VGG16 as PSA classifies with it: stride 8, LargeFOV's two convolutions behind it. WEIGHTS: torchvision's
# vgg16-397923af.pth, whose keys it has.
_base_ = '../cam/cam_efflite0_small.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, type='VGG16', output_stride=8, pool_size=3, out_indices=(3, 4),
                  init_cfg=dict(type='StrictPretrained', checkpoint='vgg16-397923af.pth', ignore=(r'^classifier\.',))),
    neck=dict(type='ConvStack', in_channels=512, layers=((1024, 3, 12), (1024, 1, 1)), pool=True, dropout_ratio=0.5),
    cam_head=dict(in_channels=1024))
