# CAM on the generated scenes of `make demo` (long side 192). Their objects are small against the stride of 16, so the
# scales are larger: the best mIoU is that of the usual ones, but at a threshold of 0.46 instead of 0.74, and the
# default threshold loses 3 points instead of 22.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py',
          '../_base_/pipelines/cam_192_generated.py', '../_base_/models/cam_efficientnet_lite0.py',
          '../_base_/schedules/cam_sgd.py']
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    inference_hooks=[dict(type='MultiScaleFlip', scales=(1.5, 2.0, 3.0), flip=True)])
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.9))
train_cfg = dict(max_epochs=5)
