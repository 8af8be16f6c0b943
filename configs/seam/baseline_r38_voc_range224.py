# Table 4: the baseline with as wide a range of sizes as the two views of SEAM have at a rate of 0.5.
_base_ = '../cam/cam_r38_voc.py'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(224, 768)),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', brightness_delta=32, contrast_range=(0.7, 1.3), saturation_range=(0.7, 1.3),
         hue_delta=18),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
