# DeepLab-ASPP on ResNet101 on COCO, with the recipe of deeplab_v2_r101_coco.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/coco_seg.py',
          '../_base_/models/deeplab_aspp_resnet101.py', '../_base_/schedules/seg_poly_iters.py']
max_iters = 100000
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters)
