# Images of VOC's size with label maps of confident pixels to train AffinityNet or IRNet with, and with CAMs to refine.
_base_ = './voc_cam.py'
# The CAMs; tools/refine_cam.py and the pipelines set cam_dir.
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadCAM', cam_dir='work_dirs/cam/train', stride=4),
    dict(type='PackWSSSInputs'),
]
# seg_dir: folder of <stem>.png, 0 background, k + 1 for class k, 255 ignore, below data_root or absolute; a pipeline or
# --cfg-options train_dataloader.dataset.seg_dir=DIR names it. Images without are left out.
train_dataloader = dict(dataset=dict(
    _delete_=True, type='VOCSegDataset', data_root={{_base_.data_root}}, split='train_aug', seg_dir='ConfidentPixels',
    missing_mask='skip', classes=None, pipeline=[]))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
