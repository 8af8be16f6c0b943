# Small images (long side about 256) with image-level labels, in VOC layout: what two cores can train on.
_base_ = './voc_cam.py'
crop_size = (224, 224)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(230, 358)),  # 0.9 to 1.4 x
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(num_workers=2, dataset=dict(split='train', pipeline=train_pipeline))
test_dataloader = dict(num_workers=1)
