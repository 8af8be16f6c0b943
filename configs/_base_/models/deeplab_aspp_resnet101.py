# DeepLab with ASPP as DeepLabV3 has it (branches with BatchNorm, and one of the whole image) on ResNet101, output
# stride 8.
_base_ = './deeplab_v2_resnet101.py'
model = dict(
    decode_head=dict(
        _delete_=True, type='ASPPHead', in_channels=2048, in_index=0, channels=256, dilations=(1, 12, 24, 36),
        dropout_ratio=0.1, num_classes=None, norm_cfg=dict(type='BN', requires_grad=True), align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)))
sync_bn = 'torch'  # in a distributed run: a GPU sees few images
