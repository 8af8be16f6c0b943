# Table 1, single-multi module: the CAM of ratio 1 is pulled to SupportNet's of all ratios.
_base_ = './rcm_mam_r38_voc.py'
model = dict(rcm=None, mam=dict(mode='smm'))
