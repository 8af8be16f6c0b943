# CAM with VGG16-GAP on a small localization set. The first three stages keep their ImageNet weights, and the scores are
# those of one view, as ten would be ten times the work.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/wsol_small.py', '../_base_/models/wsol_vgg16.py',
          '../_base_/schedules/wsol_sgd.py']
max_epochs = 4
model = dict(backbone=dict(frozen_stages=3), test_cfg=dict(ten_crop=False))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
