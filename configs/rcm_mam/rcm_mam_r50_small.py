# RCM and MAM on small images with ResNet50: the recipe of rcm_mam_efflite0_small.py with the optimizer and the epochs
# of ../cam/cam_r50_small.py.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py', '../_base_/pipelines/cam_192.py',
          '../_base_/models/rcm_mam_resnet50.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), stride=8, momentum=0.03,
             rcm=dict(normalize='balanced', skip_incomplete=True), mam=dict(skip_empty=True))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.0))
train_cfg = dict(max_epochs=3)
custom_hooks = [*_base_.custom_hooks, dict(type='SupportNetHook'),
                dict(type='LossWeightScheduleHook', name='mam', begin=0.3)]
