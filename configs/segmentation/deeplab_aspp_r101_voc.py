# DeepLab with the ASPP of DeepLabV3 on ResNet101; batch, rate, crop and iterations are those of
# deeplab_v2_r101_voc.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_seg.py', '../_base_/pipelines/seg_321.py',
          '../_base_/models/deeplab_aspp_resnet101.py', '../_base_/schedules/seg_poly_30k.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
