# DeepLab on ConvNeXt-T, its last stage of stride 32.
_base_ = '../segmentation/deeplab_efflite0_small.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, type='HFBackbone', model='facebook/convnext-tiny-224', out_indices=(-1,)),
    decode_head=dict(in_channels=768, in_index=-1))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05),
                     paramwise_cfg=dict(bias_mult=1))
