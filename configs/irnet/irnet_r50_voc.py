# IRNet as in the paper: ResNet50 frozen, VOC trainaug, long side rescaled by 0.5 to 1.5, crop 512, flip, batch 32 over
# all GPUs, 3 epochs, lr 0.1 (displacements x10), biases like weights. The momentum is that of the released code (see
# ../_base_/schedules/cam_sgd.py).
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_affinity.py', '../_base_/models/irnet_resnet50.py',
          '../_base_/schedules/cam_sgd.py']
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(250, 750), interpolation='bicubic', backend='pillow'),  # 0.5 to 1.5 x
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomPlaceCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(
    optimizer=dict(lr=0.1, momentum=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(new_layers=['displacement_head'], bias_mult=1, new_weight_mult=10, new_bias_mult=10,
                       bias_decay_mult=1))
train_cfg = dict(max_epochs=3)
custom_hooks = [*_base_.custom_hooks, dict(type='MeanDisplacementHook')]
