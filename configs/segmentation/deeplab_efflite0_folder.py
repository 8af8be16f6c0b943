# The last stage on a folder of images and their pseudo labels; the recipe of deeplab_efflite0_small.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/folder_seg.py',
          '../_base_/models/deeplab_efficientnet_lite0.py', '../_base_/schedules/seg_sgd.py']
max_epochs = 8
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
optim_wrapper = dict(optimizer=dict(lr=0.005))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
