# AffinityNet on ImageNet ResNet50 in caffe style, for small images: stage 2 has stride 8, stages 3 and 4, of stride 16,
# are resized to it.
_base_ = './affinitynet_resnet38.py'
norm_cfg = dict(type='BN', requires_grad=False)
model = dict(
    data_preprocessor=dict(mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(_delete_=True, type='ResNet', depth=50, style='caffe', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1),
                  out_indices=(1, 2, 3), frozen_stages=1, norm_eval=True, norm_cfg=norm_cfg),
    affinity_head=dict(in_channels=(512, 1024, 2048)))
