# SEAM as in the paper: ResNet38, VOC trainaug, long side 448-768, crop 448, batch 8 over all GPUs, 8 epochs, lr 0.01.
# The momentum is that of the released code, whose optimizer hands weight_decay to SGD in momentum's place; the paper's
# 0.9 is the power of the poly schedule (see ../_base_/schedules/cam_sgd.py).
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/models/seam_resnet38.py',
          '../_base_/schedules/cam_sgd.py']
crop_size = (448, 448)
max_epochs = 8
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(448, 768)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', brightness_delta=32, contrast_range=(0.7, 1.3), saturation_range=(0.7, 1.3),
         hue_delta=18),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=5e-4, weight_decay=5e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
