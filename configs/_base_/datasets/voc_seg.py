# Images of VOC's size with masks, in VOC layout: pseudo labels to train on, ground truth to evaluate on. What training
# images go through is in ../pipelines, see voc_cam.py.
# mmsegmentation's own VOC config resizes to (2048, 512), which is wrong for VOC's photographs.
data_root = 'data/VOC2012'
# The label map is loaded after the image is as it will be: it keeps its own size, which is the image's.
test_pipeline = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackWSSSInputs')]
train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    # seg_dir: folder of <stem>.png label maps, below data_root or absolute. Ground truth, unless a pipeline or
    # --cfg-options train_dataloader.dataset.seg_dir=DIR names a folder of pseudo labels.
    dataset=dict(type='VOCSegDataset', data_root=data_root, split='train_aug', seg_dir='SegmentationClass',
                 classes=None, pipeline=[]))
auto_scale_lr = dict(base_batch_size=10, enable=False)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='VOCSegDataset', data_root=data_root, split='val', seg_dir='SegmentationClass', classes=None,
                 pipeline=test_pipeline, test_mode=True))
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
# tools/test.py --tta, and the option tta of a pipeline's stage: probabilities averaged over scales and flips.
tta_model = dict(type='MultiViewSegmentor')
tta_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='ScaleImage', factor=factor) for factor in (0.5, 0.75, 1.0, 1.25, 1.5)],
        [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)],
        [dict(type='PackWSSSInputs')],
    ]),
]
# tools/test.py --crf: the CRF that DeepLabV2's users run on VOC.
test_postprocessors = [
    dict(type='DenseCRF', unary='softmax', iterations=10, gaussian_sxy=1, gaussian_compat=3, bilateral_sxy=67,
         bilateral_srgb=3, bilateral_compat=4),
]
