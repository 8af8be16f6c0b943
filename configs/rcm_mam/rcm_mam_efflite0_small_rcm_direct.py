# Table 2, experiment 1: CAMs are pulled to the class regions directly, without prototypes. It starts
# with MAM: the gradient of a CAM that is divided by its maximum is huge while a new head has hardly a maximum, and on
# voc8 the training diverged.
_base_ = './rcm_mam_efflite0_small.py'
model = dict(rcm=dict(mode='direct'), mam=None)
custom_hooks = [*_base_.custom_hooks, dict(type='LossWeightScheduleHook', name='rcm', begin=0.3)]
