# RCM and MAM as in the paper: ResNet38, VOC trainaug, resized by 0.5 to 1.3 (long side about 500), crop 192, batch 16
# over all GPUs, 20 epochs, lr 0.01, MAM after epoch 6. The paper does not publish the SGD momentum; this is the one of
# the family of repositories that it builds upon (see ../_base_/schedules/cam_sgd.py).
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/models/rcm_mam_resnet38.py',
          '../_base_/schedules/cam_sgd.py']
crop_size = (192, 192)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(250, 650), interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    # "Color jittering" with a reference to AlexNet, which adds principal components; see ..._color_jitter.py.
    dict(type='PCALighting', std=0.1),
    dict(type='RandomPlaceCrop', crop_size=crop_size),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=5e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=20)
custom_hooks = [*_base_.custom_hooks, dict(type='SupportNetHook'),
                dict(type='LossWeightScheduleHook', name='mam', begin=0.3)]
