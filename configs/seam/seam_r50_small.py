# SEAM on small images with ResNet50: the recipe of ../cam/cam_r50_small.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py', '../_base_/models/seam_resnet50.py',
          '../_base_/schedules/cam_sgd.py']
max_epochs = 3
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.0))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
