# Training images of VOC's size for CAM classifiers, as in IRNet's code: long side 320 to 640, bicubic (PIL), flip, crop
# 512 with a random place for smaller images.
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(320, 640), interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomPlaceCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
