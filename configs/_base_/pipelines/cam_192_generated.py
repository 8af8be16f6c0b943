# Generated scenes (long side 192) for CAM classifiers: 0.9 to 1.4 x, crop 192.
crop_size = (192, 192)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(170, 260)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
