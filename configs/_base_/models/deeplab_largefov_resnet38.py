# DeepLab-LargeFOV on ResNet38, output stride 8: the head as published, 1024 channels, dropout after each convolution.
# All of the backbone is trained, but for the weights and biases of BatchNorm. num_classes counts the background.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    # No ImageNet weights can be had from a package registry: see configs/segmentation/README.md.
    backbone=dict(type='ResNet38', out_indices=(2,), norm_frozen=True,
                  init_cfg=dict(type='StrictPretrained', checkpoint='resnet38_imagenet.pth')),
    decode_head=dict(type='DeepLabLargeFOVHead', in_channels=4096, in_index=0, channels=1024, dilation=12,
                     dropout_ratio=0.5, num_classes=None, align_corners=False,
                     loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
sync_bn = 'torch'  # in a distributed run: a GPU sees few images
