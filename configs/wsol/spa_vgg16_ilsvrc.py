# SPA: two convolutions before the CAM head, and the restricted activation loss after a tenth of the training.
_base_ = './cam_vgg16_ilsvrc.py'
model = dict(
    neck=dict(layers=((1024, 3, 1), (1024, 3, 1))),
    cam_head=dict(restricted_activation=dict(type='RestrictedActivationLoss', background=0.2, gap=0.5,
                                             loss_weight=0.1)))
custom_hooks = [dict(type='SeedHook'), dict(type='ProgressHook'), dict(type='ChannelsLastHook'),
                dict(type='LossWeightScheduleHook', name='restricted', begin=0.1)]
