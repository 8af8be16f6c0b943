# A CAM on a backbone of mmpretrain, here DeiT-S/16 whose tokens come as a map: pip install onedl-mmpretrain
# model-index. Its weights are
# given with --cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE
# model.backbone.init_cfg.prefix=backbone.
_base_ = '../cam/cam_efflite0_small.py'
custom_imports = dict(imports=['mmpretrain.models'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, type='mmpretrain.VisionTransformer', arch='deit-small', img_size=224, patch_size=16,
                  out_type='featmap'),
    cam_head=dict(in_channels=384))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05),
                     paramwise_cfg=dict(bias_mult=1, layer_decay=0.75))
