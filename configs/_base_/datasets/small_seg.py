# Small images (long side about 256) with masks, in VOC layout.
_base_ = './voc_seg.py'
crop_size = (224, 224)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(180, 384)),  # 0.7 to 1.5 x
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(batch_size=16, num_workers=2, dataset=dict(split='train', pipeline=train_pipeline))
test_dataloader = dict(num_workers=1)
# Half of VOC's size: half of its distances.
test_postprocessors = [
    dict(type='DenseCRF', unary='softmax', iterations=10, gaussian_sxy=1, gaussian_compat=3, bilateral_sxy=67,
         bilateral_srgb=3, bilateral_compat=4, scale_factor=2),
]
