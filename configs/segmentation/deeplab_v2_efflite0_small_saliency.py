# deeplab_v2_efflite0_small.py with the saliency-conflict loss of InferCam, as in
# deeplab_efflite0_small_saliency.py, which gains here too.
_base_ = './deeplab_v2_efflite0_small.py'
model = dict(type='SaliencyEncoderDecoder', decode_head=dict(loss_decode=dict(
    _delete_=True, type='SaliencyConflictLoss', alpha=6.0, present_only=True, per_class=True, normalize=True,
    loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))))
# Images without a saliency map are left out.
train_pipeline = [*_base_.train_pipeline[:2], dict(type='LoadSaliency'), *_base_.train_pipeline[2:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, require_saliency=True))
