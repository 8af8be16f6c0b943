# SLAM on small images (long side about 256) with EfficientNet-Lite0. Its encoder: encoder_efflite0_small.py. The
# learning rate is SemFormer's, without momentum: at three times this rate, or with a momentum of 0.9, the maps saturate
# in the first epoch and learn no more.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py', '../_base_/pipelines/cam_192.py',
          '../_base_/models/slam_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.005))
train_cfg = dict(max_epochs=4)
