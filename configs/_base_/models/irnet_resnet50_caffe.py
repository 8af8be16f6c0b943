# IRNet on ImageNet ResNet50 in caffe style (stride in the 1x1 convolution), for small images.
_base_ = './irnet_resnet50.py'
model = dict(
    data_preprocessor=dict(mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(style='caffe'),
    test_cfg=dict(pad_size=256))
