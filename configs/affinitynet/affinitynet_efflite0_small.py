# AffinityNet on small images with EfficientNet-Lite0: crop 224, batch 16, 4 epochs, the learning rate of SEAM's fork.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_affinity.py', '../_base_/pipelines/affinity_224.py',
          '../_base_/models/affinitynet_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
# In an image half as large as VOC's a walk gets twice as far: fewer steps. This backbone's embedding separates less
# than ResNet50's: at the published power of 8 the walk gains nothing. See README.md for both.
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), random_walk=dict(beta=20, steps=32),
             test_cfg=dict(alpha=12))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.9))
train_cfg = dict(max_epochs=4)
