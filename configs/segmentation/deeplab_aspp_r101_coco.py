# DeepLab-ASPP on ResNet101 on COCO, with the recipe of deeplab_v2_r101_coco.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/coco_seg.py', '../_base_/pipelines/seg_481.py',
          '../_base_/models/deeplab_aspp_resnet101.py', '../_base_/schedules/seg_poly_iters.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
train_cfg = dict(max_iters=100000)
