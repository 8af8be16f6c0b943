# A localization set (`mmwsss convert localization`): images to 256 x 256, crops of 224 in training.
data_root = 'data/localization'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(256, 256), keep_ratio=False),
    dict(type='RandomCrop', crop_size=(224, 224)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(256, 256), keep_ratio=False),
    dict(type='PackWSSSInputs'),
]
auto_scale_lr = dict(base_batch_size=16, enable=False)
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='LocalizationDataset', data_root=data_root, split='train', pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='SameSizeBatchSampler'),
    dataset=dict(type='LocalizationDataset', data_root=data_root, split='test', pipeline=test_pipeline,
                 test_mode=True))
# Without `threshold` the errors are those at the best threshold on the tested images, and say so: `oracle`.
test_evaluator = dict(type='BoxLocalizationMetric')
test_cfg = dict(type='CAMTestLoop', amp=None, fuse_conv_bn=True, cast_weights=True)
