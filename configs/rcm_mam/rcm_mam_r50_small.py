# RCM and MAM on small images with ResNet50: the recipe of rcm_mam_efflite0_small.py with the optimizer and the epochs
# of ../cam/cam_r50_small.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py', '../_base_/models/rcm_mam_resnet50.py',
          '../_base_/schedules/cam_sgd.py']
crop_size = (192, 192)
max_epochs = 3
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(196, 306)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size), stride=8, momentum=0.03,
             rcm=dict(normalize='balanced', skip_incomplete=True), mam=dict(skip_empty=True))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.0))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
custom_hooks = [*_base_.custom_hooks, dict(type='SupportNetHook'),
                dict(type='LossWeightScheduleHook', name='mam', begin=0.3)]
