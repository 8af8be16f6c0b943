# DeepLabV2 with SSA's recipe (section 4.2): batch 10, lr 2.5e-4, 30k iterations. What the paper leaves open is as
# DeepLabV2's users have it: crop 321, 0.5 to 1.5 x.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_seg.py', '../_base_/pipelines/seg_321.py',
          '../_base_/models/deeplab_v2_resnet101.py', '../_base_/schedules/seg_poly_30k.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
