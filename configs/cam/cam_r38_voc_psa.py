# CAM with AffinityNet's recipe, that of its released code (PSA): ResNet38, VOC trainaug, long side 256-512, crop 448,
# batch 16, 15 epochs, lr 0.1. The momentum is that of the released code (see ../_base_/schedules/cam_sgd.py).
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/pipelines/cam_448.py',
          '../_base_/models/cam_resnet38.py', '../_base_/schedules/cam_sgd.py']
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(256, 512), interpolation='bicubic', backend='pillow'),
    *_base_.train_pipeline[2:],
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(base_batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=0.1, momentum=5e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=15)
