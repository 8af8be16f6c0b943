# DeepLabV2 on ResNet101 in caffe style (stride in the 1x1 convolution), output stride 8, every BatchNorm frozen.
# Scores are the sum of four dilated convolutions. num_classes counts the background.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0],
                           bgr_to_rgb=False, pad_val=0, seg_pad_val=255),
    backbone=dict(type='ResNet', depth=101, style='caffe', strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4),
                  out_indices=(3,), norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False),
                  # ImageNet weights, which MMEngine downloads; your file: model.backbone.init_cfg.checkpoint=FILE.
                  init_cfg=dict(type='StrictPretrained', checkpoint='open-mmlab://detectron2/resnet101_caffe')),
    decode_head=dict(type='DeepLabV2Head', in_channels=2048, in_index=0, dilations=(6, 12, 18, 24), num_classes=None,
                     align_corners=False, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
