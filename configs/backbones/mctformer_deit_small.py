# MCTformer on DeiT-S: class tokens instead of the class token; the CAM along the attention of the last three blocks.
_base_ = '../cam/cam_efflite0_small.py'
model = dict(
    type='MCTformer',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, type='HFBackbone', model='facebook/deit-small-patch16-224', attention_blocks=3),
    cam_head=dict(in_channels=384),
    inference_hooks=[dict(type='MultiScaleFlip', scales=(0.75, 1.0, 1.5), flip=True),
                     dict(type='AttentionRefinement')])
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05),
                     paramwise_cfg=dict(bias_mult=1, new_weight_mult=1, new_bias_mult=1))
