# AffinityNet on the generated scenes of `make demo` (long side 192).
_base_ = './affinitynet_efflite0_small.py'
crop_size = (192, 192)
train_pipeline = [*_base_.train_pipeline[:2], dict(type='RandomCrop', crop_size=crop_size), *_base_.train_pipeline[3:]]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
