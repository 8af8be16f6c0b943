# Training images of VOC's size for CAM classifiers: long side 448 to 768, crop 448, colour jitter (SEAM).
crop_size = (448, 448)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(448, 768)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', brightness_delta=32, contrast_range=(0.7, 1.3), saturation_range=(0.7, 1.3),
         hue_delta=18),
    dict(type='PackWSSSInputs'),
]
