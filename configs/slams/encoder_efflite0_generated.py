# SLAMs' semantic encoder on the generated scenes of `make demo` (long side 192).
_base_ = './encoder_efflite0_small.py'
crop_size = (192, 192)
max_epochs = 5
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(170, 260)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
