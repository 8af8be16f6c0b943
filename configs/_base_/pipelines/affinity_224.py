# Training images of long side about 256 with confident pixels for AffinityNet: crop 224 without resizing.
crop_size = (224, 224)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
