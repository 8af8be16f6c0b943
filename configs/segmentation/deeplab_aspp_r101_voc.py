# DeepLab-ASPP on ResNet101, as InferCam's last stage. The paper gives no numbers: batch, rate, crop and iterations are
# those of deeplab_v2_r101_voc.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_seg.py',
          '../_base_/models/deeplab_aspp_resnet101.py', '../_base_/schedules/seg_poly_iters.py']
crop_size = (321, 321)
max_iters = 30000
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(256, 768)),  # 0.5 to 1.5 x
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters)
