# split_patch_r50_small.py on the paper's backbone (table 4). Needs the checkpoint and the CAMs of the training images
# that it made: --cfg-options load_from=EPOCH.pth train_dataloader.dataset.pipeline.1.cam_dir=CAMS
_base_ = '../cam/cam_r38_voc.py'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='SplitPatch', cam_dir='work_dirs/cam/train_aug'),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
