# A DeepLab with atrous spatial pyramid pooling on ResNet50, output stride 16, for small images: rates that fit a
# grid of 14 x 14. num_classes counts the background.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0],
                           bgr_to_rgb=False, pad_val=0, seg_pad_val=255),
    backbone=dict(type='ResNet', depth=50, style='caffe', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1),
                  out_indices=(0, 1, 2, 3), frozen_stages=1, norm_eval=True,
                  norm_cfg=dict(type='BN', requires_grad=False)),
    decode_head=dict(type='ASPPHead', in_channels=2048, in_index=3, channels=128, dilations=(1, 3, 6, 9),
                     dropout_ratio=0.1, num_classes=None, norm_cfg=norm_cfg, align_corners=False,
                     loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
