# Table 2, experiment 2: SupportNet shares the weights of MainNet.
_base_ = './rcm_mam_efflite0_small.py'
model = dict(mam=None, support='shared')
