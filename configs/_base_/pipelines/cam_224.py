# Training images of long side about 256 for CAM classifiers: 0.9 to 1.4 x, crop 224.
crop_size = (224, 224)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(230, 358)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
