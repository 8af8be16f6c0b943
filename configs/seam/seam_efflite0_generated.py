# SEAM on the generated scenes of `make demo` (long side 192), with the recipe of ../cam/cam_efflite0_generated.py. At a
# rate of 0.3 nothing can be recognised in the second view, and the maps collapse.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py',
          '../_base_/pipelines/cam_192_generated.py', '../_base_/models/seam_efficientnet_lite0.py',
          '../_base_/schedules/cam_sgd.py']
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    views=[dict(type='RescaleView', scale=0.5)],
    inference_hooks=[dict(type='MultiScaleFlip', scales=(1.5, 2.0, 3.0), flip=True)])
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.9))
train_cfg = dict(max_epochs=5)
