# Training images of VOC's size for segmentors: crop 448.
crop_size = (448, 448)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(256, 768)),  # 0.5 to 1.5 x
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
