# Table 1, RCM and the multi-multi module.
_base_ = './rcm_mam_efflite0_small.py'
model = dict(mam=dict(mode='mmm'))
