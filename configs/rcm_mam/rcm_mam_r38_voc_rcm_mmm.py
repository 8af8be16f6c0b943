# Table 1, RCM and the multi-multi module.
_base_ = './rcm_mam_r38_voc.py'
model = dict(mam=dict(mode='mmm'))
