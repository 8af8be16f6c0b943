# The last stage on the generated scenes of `make demo` (long side 192).
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_seg.py',
          '../_base_/models/deeplab_efficientnet_lite0.py', '../_base_/schedules/seg_sgd.py']
crop_size = (192, 192)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(170, 260)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.005))
train_cfg = dict(max_epochs=9)
