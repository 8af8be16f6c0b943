# The other reading of "color jittering": that of the family of repositories that the paper builds upon.
_base_ = './rcm_mam_r38_voc.py'
train_pipeline = [
    *_base_.train_pipeline[:3],
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
    *_base_.train_pipeline[4:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
