# What descends from SEAM calls DeepLabV1: ResNet38 with a LargeFOV head of 512 channels, BatchNorm, and dropout before
# the classifier alone.
_base_ = './deeplab_largefov_resnet38.py'
model = dict(decode_head=dict(channels=512, norm_cfg=dict(type='BN', requires_grad=True), hidden_dropout_ratio=0.0))
