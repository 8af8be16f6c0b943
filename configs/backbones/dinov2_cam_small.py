# A linear CAM on a frozen DINOv2 (ViT-S/14). Its patches are 14 pixels wide: the crop of 224 is 16 patches.
# `model` is a folder with config.json and model.safetensors, or a name on the hub.
_base_ = '../cam/cam_efflite0_small.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, type='HFBackbone', model='facebook/dinov2-small', out_indices=(-1,), frozen=True),
    cam_head=dict(in_channels=384))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=1e-2),
                     paramwise_cfg=dict(new_weight_mult=1, new_bias_mult=1))
