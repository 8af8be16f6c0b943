# deeplab_efflite0_small.py with DeepLabV2's head, whose scores are sums of dilated convolutions of the features.
_base_ = './deeplab_efflite0_small.py'
model = dict(decode_head=dict(
    _delete_=True, type='DeepLabV2Head', in_channels=1280, in_index=-1, dilations=(1, 3, 6, 9), num_classes=None,
    align_corners=False, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)))
