# AffinityNet on small images with ResNet50: crop 224, batch 16, 3 epochs, the learning rate of SEAM's fork.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_affinity.py', '../_base_/pipelines/affinity_224.py',
          '../_base_/models/affinitynet_resnet50.py', '../_base_/schedules/cam_sgd.py']
# In an image half as large as VOC's a walk gets twice as far: 256 steps lose 4 points of mIoU, 32 win (see README.md).
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), random_walk=dict(steps=32), test_cfg=dict(alpha=12))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.0))
train_cfg = dict(max_epochs=3)
