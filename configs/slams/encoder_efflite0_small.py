# SLAMs' semantic encoder on small images with EfficientNet-Lite0. Its backbone starts as that of the classifier of
# ../cam/cam_efflite0_small.py: --cfg-options model.backbone.init_cfg.checkpoint=FILE. It sees crops of 112 of images of
# long side 112-256.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py',
          '../_base_/models/semantic_encoder_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
crop_size = (112, 112)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(112, 256)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size), backbone=dict(
    frozen_stages=0, init_cfg=dict(_delete_=True, type='StrictPretrained', checkpoint=None, prefix='backbone')))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=2e-4, weight_decay=5e-4))  # x 10 for new layers
train_cfg = dict(max_epochs=8)
test_dataloader = test_evaluator = test_cfg = None  # it becomes a part of a SLAM, and that is tested
