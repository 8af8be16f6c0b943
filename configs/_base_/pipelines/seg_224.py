# Training images of long side about 256 for segmentors: crop 224.
crop_size = (224, 224)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(180, 384)),  # 0.7 to 1.5 x
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
