# Training images of long side about 256 for CAM classifiers: crop 192 of what cam_224.py makes, 6/7 as large.
crop_size = (192, 192)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(196, 306)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
