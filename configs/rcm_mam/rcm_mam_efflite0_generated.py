# RCM and MAM on the generated scenes of `make demo` (long side 192): the recipe of ../cam/cam_efflite0_generated.py.
_base_ = './rcm_mam_efflite0_small.py'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(170, 260)),
    *_base_.train_pipeline[2:],
]
model = dict(inference_hooks=[dict(type='MultiScaleFlip', scales=(1.5, 2.0, 3.0), flip=True)])
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=5)
