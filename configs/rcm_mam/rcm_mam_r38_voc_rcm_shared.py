# Table 2, experiment 2: SupportNet shares the weights of MainNet.
_base_ = './rcm_mam_r38_voc.py'
model = dict(mam=None, support='shared')
