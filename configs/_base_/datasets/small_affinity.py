# The same for small images (long side about 256).
_base_ = './voc_affinity.py'
crop_size = (224, 224)
# AffinityNet's; IRNet has one of its own.
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(num_workers=2, dataset=dict(split='train', pipeline=train_pipeline))
test_dataloader = dict(num_workers=1)
