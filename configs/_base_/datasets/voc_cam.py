# Images of VOC's size (long side about 500) with image-level labels, in VOC layout. What training images go through is
# in ../pipelines: a config names one and sets train_dataloader.dataset.pipeline={{_base_.train_pipeline}}.
data_root = 'data/VOC2012'
test_pipeline = [dict(type='LoadImage'), dict(type='PackWSSSInputs')]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='VOCImageLabelDataset', data_root=data_root, split='train_aug', classes=None, pipeline=[]))
auto_scale_lr = dict(base_batch_size=16, enable=False)
# CAMs are made for the training images (tools/make_cam.py, which needs no masks) and evaluated on them (tools/test.py):
# WSSS does not use these masks for training.
test_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='SameSizeBatchSampler', max_pixels=8 * 500 * 500),  # of larger images fewer at a time
    dataset=dict(type='VOCImageLabelDataset', data_root=data_root, split='train', classes=None,
                 require_masks=True, pipeline=test_pipeline, test_mode=True))
test_evaluator = dict(type='CAMMetric')
# max_side: photographs that are larger than what is trained on are made smaller before their CAM is made.
test_cfg = dict(type='CAMTestLoop', amp=None, fuse_conv_bn=True, cast_weights=True, max_side=1024)
