# ImageNet ResNet50 in caffe style (stride in the 1x1 convolution) with output stride 16. The stem and the first
# stage are frozen, and so is every BatchNorm: CAM batches are small.
norm_cfg = dict(type='BN', requires_grad=False)
model = dict(
    type='CAMClassifier',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0],
                           bgr_to_rgb=False, pad_val=0, seg_pad_val=255),
    backbone=dict(type='ResNet', depth=50, style='caffe', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1),
                  out_indices=(0, 1, 2, 3), frozen_stages=1, norm_eval=True, norm_cfg=norm_cfg),
    cam_head=dict(type='CAMHead', in_channels=2048, num_classes=None),
    inference_hooks=[dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True)],
    test_cfg=dict(class_filter='label', stride=4))
