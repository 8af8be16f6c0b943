# Training images of VOC's size for CAM classifiers, as in SEAM's code: long side 448 to 768, bicubic (PIL), flip,
# colour jitter, crop 448 with a random place for smaller images. RandomResizeLong without its last two settings and
# RandomCrop in place of RandomPlaceCrop are mmsegmentation's ways.
crop_size = (448, 448)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(448, 768), interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
    dict(type='RandomPlaceCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
