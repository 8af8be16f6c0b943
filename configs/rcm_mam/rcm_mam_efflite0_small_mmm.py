# Table 1, multi-multi module: the CAM of every ratio is pulled to SupportNet's of all ratios, without attention.
# Targets are divided by their maximum again, as README.md's figures were made.
_base_ = './rcm_mam_efflite0_small.py'
model = dict(rcm=None, mam=dict(mode='mmm', renormalize=True))
