# Training images of VOC's size for CAM classifiers: long side 320 to 640, crop 512 (IRNet).
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(320, 640)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
