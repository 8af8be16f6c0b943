# CAM with VGG16-GAP on CUB-200-2011: SPA's optimizer and length.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/wsol_cub.py', '../_base_/models/wsol_vgg16.py',
          '../_base_/schedules/wsol_sgd.py']
