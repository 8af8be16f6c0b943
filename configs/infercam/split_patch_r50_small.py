# Split & unite as training augmentation (section 4.3, table 4): a trained classifier goes on to train on patches that
# its own CAMs split. Needs the checkpoint (load_from) and the CAMs of the training images that it made (cam_dir):
#   --cfg-options load_from=EPOCH_3.pth train_dataloader.dataset.pipeline.1.cam_dir=CAMS
# The paper says "finetuning" and nothing else; the recipe is the base's.
_base_ = '../cam/cam_r50_small.py'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='SplitPatch', cam_dir='work_dirs/cam/train'),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
