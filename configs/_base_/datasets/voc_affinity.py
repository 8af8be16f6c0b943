# Images of VOC's size with label maps of confident pixels to train AffinityNet or IRNet with, and with CAMs to refine.
# What training images go through is in ../pipelines or in the config.
data_root = 'data/VOC2012'
# The CAMs; tools/refine_cam.py and the pipelines set cam_dir.
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadCAM', cam_dir='work_dirs/cam/train', stride=4),
    dict(type='PackWSSSInputs'),
]
# seg_dir: folder of <stem>.png, 0 background, k + 1 for class k, 255 ignore, below data_root or absolute; a pipeline or
# --cfg-options train_dataloader.dataset.seg_dir=DIR names it. Images without are left out.
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='VOCSegDataset', data_root=data_root, split='train_aug', seg_dir='ConfidentPixels',
                 missing_mask='skip', classes=None, pipeline=[]))
auto_scale_lr = dict(base_batch_size=16, enable=False)
test_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='SameSizeBatchSampler'),
    dataset=dict(type='VOCImageLabelDataset', data_root=data_root, split='train', classes=None,
                 require_masks=True, pipeline=test_pipeline, test_mode=True))
test_evaluator = dict(type='CAMMetric')
# max_side: as for CAMs, see voc_cam.py.
test_cfg = dict(type='CAMTestLoop', amp=None, fuse_conv_bn=True, cast_weights=True, max_side=1024)
