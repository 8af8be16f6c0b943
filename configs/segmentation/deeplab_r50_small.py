# The last stage on small images: a DeepLab on ResNet50, 8 epochs on pseudo labels.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_seg.py', '../_base_/pipelines/seg_224.py',
          '../_base_/models/deeplab_resnet50.py', '../_base_/schedules/seg_sgd_small.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.002))
train_cfg = dict(max_epochs=8)
