# AffinityNet as in the paper: ResNet38, VOC trainaug, crop 448 without resizing, flip, colour jitter (released code),
# batch 8 over all GPUs, 8 epochs, lr 0.1 (0.01 in SEAM's fork). The momentum is that of the released code (see
# ../_base_/schedules/cam_sgd.py).
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_affinity.py',
          '../_base_/models/affinitynet_resnet38.py', '../_base_/schedules/cam_sgd.py']
crop_size = (448, 448)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
    dict(type='RandomPlaceCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.1, momentum=5e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=8)
