# SLAM on small images (long side about 256) with EfficientNet-Lite0. Its encoder: encoder_efflite0_small.py. The
# learning rate is SemFormer's, without momentum: at three times this rate, or with a momentum of 0.9, the maps saturate
# in the first epoch and learn no more.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py',
          '../_base_/models/slam_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
crop_size = (192, 192)
max_epochs = 4
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(196, 306)),  # to the crop as in ../cam/cam_efflite0_small.py
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.005))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
