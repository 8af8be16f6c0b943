# CAM with VGG16-GAP on ILSVRC, 20 epochs.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/wsol_ilsvrc.py', '../_base_/models/wsol_vgg16.py',
          '../_base_/schedules/wsol_sgd.py']
max_epochs = 20
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
