# IRNet on small images with ResNet50 in caffe style: crop 224, batch 16, 3 epochs.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_affinity.py',
          '../_base_/models/irnet_resnet50_caffe.py', '../_base_/schedules/cam_sgd.py']
crop_size = (224, 224)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(180, 384)),  # 0.7 to 1.5 x
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    optimizer=dict(lr=0.1, momentum=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(new_layers=['displacement_head'], bias_mult=1, new_weight_mult=10, new_bias_mult=10,
                       bias_decay_mult=1))
train_cfg = dict(max_epochs=3)
custom_hooks = [*_base_.custom_hooks, dict(type='MeanDisplacementHook')]
