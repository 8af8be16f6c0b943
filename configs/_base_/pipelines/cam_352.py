# Training images of VOC's own size (long side about 500) for CAM classifiers: 0.7 to 1.2 x, crop 352.
crop_size = (352, 352)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(352, 608)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
