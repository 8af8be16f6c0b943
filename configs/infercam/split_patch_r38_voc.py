# Split & unite in training, InferCam in the test: "Ours + split&unite re-training" of the paper's Table 4. Training is
# split_patch_r50_small.py's on the paper's backbone, the test is infercam_r38_voc.py's. Needs the checkpoint and the
# CAMs of the training images that it made (docs/voc.md has the commands):
#   --cfg-options load_from=EPOCH.pth train_dataloader.dataset.pipeline.1.cam_dir=CAMS
# The paper says "finetuning" and nothing else: the recipe is that of its classifier at a tenth of the rate, 8 epochs.
_base_ = '../cam/cam_r38_voc_psa.py'
model = dict(inference_hooks=[
    dict(type='InferCam', split=dict(normalize='patch', include_base=False, align=1, min_size=1),
         erase=dict(normalize='round')),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic')])
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='SplitPatch', cam_dir='work_dirs/cam/train_aug', min_size=1),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_cfg = dict(max_epochs=8)
