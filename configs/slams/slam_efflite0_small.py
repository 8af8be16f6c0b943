# SLAM on small images (long side about 256) with EfficientNet-Lite0. Its encoder: encoder_efflite0_small.py; the
# classifier that it starts from: ../cam/cam_efflite0_small.py, whose first stages stay as they are.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py', '../_base_/pipelines/cam_192.py',
          '../_base_/models/slam_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), backbone=dict(frozen_stages=4))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.01),
                     paramwise_cfg=dict(new_weight_mult=30))
train_cfg = dict(max_epochs=2)
