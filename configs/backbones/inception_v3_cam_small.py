# Inception V3 as localization uses it: stride 8, two 3x3 convolutions behind it. The checkpoint is torchvision's.
_base_ = '../cam/cam_efflite0_small.py'
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(_delete_=True, type='InceptionV3', output_stride=8, norm_eval=True,
                  init_cfg=dict(type='StrictPretrained', checkpoint='inception_v3_google-0cc3c7bd.pth',
                                ignore=(r'^(Mixed_7|AuxLogits|fc)'))),
    neck=dict(type='ConvStack', in_channels=768, layers=((1024, 3, 1), (1024, 3, 1))),
    cam_head=dict(in_channels=1024))
