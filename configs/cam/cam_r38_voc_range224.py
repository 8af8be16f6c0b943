# cam_r38_voc.py with as wide a range of sizes as the two views of SEAM have at a rate of 0.5: SEAM's Table 4.
_base_ = './cam_r38_voc.py'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(224, 768), interpolation='bicubic', backend='pillow'),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
