# SLAM on the generated scenes of `make demo` (long side 192).
_base_ = './slam_efflite0_small.py'
max_epochs = 5
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(170, 260)),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(inference_hooks=[dict(type='MultiScaleFlip', scales=(1.5, 2.0, 3.0), flip=True)])
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
