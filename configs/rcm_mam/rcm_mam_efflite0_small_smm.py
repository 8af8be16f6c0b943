# Table 1, single-multi module: the CAM of ratio 1 is pulled to SupportNet's of all ratios.
# Targets are divided by their maximum again, as README.md's figures were made.
_base_ = './rcm_mam_efflite0_small.py'
model = dict(rcm=None, mam=dict(mode='smm', renormalize=True))
