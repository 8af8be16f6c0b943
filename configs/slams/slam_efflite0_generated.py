# SLAM on the generated scenes of `make demo` (long side 192): slam_efflite0_small.py with their images and scales.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py',
          '../_base_/pipelines/cam_192_generated.py', '../_base_/models/slam_efficientnet_lite0.py',
          '../_base_/schedules/cam_sgd.py']
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}), backbone=dict(frozen_stages=4),
    inference_hooks=[dict(type='MultiScaleFlip', scales=(1.5, 2.0, 3.0), flip=True)])
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.01),
                     paramwise_cfg=dict(new_weight_mult=30))
train_cfg = dict(max_epochs=2)
