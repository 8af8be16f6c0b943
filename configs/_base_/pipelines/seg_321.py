# Training images of VOC's size for segmentors: the crop of DeepLabV2's users.
crop_size = (321, 321)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(256, 768)),  # 0.5 to 1.5 x
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
