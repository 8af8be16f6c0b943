# deeplab_efflite0_small.py with DeepLabV2's head, whose scores are sums of dilated convolutions of the features.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_seg.py', '../_base_/pipelines/seg_224.py',
          '../_base_/models/deeplab_efficientnet_lite0.py', '../_base_/schedules/seg_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), decode_head=dict(
    _delete_=True, type='DeepLabV2Head', in_channels=1280, in_index=-1, dilations=(1, 3, 6, 9), num_classes=None,
    align_corners=False, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
# A tenth of the others: there is no norm in this head, and at their rate the loss grows to thousands.
optim_wrapper = dict(optimizer=dict(lr=0.0005))
train_cfg = dict(max_epochs=8)
