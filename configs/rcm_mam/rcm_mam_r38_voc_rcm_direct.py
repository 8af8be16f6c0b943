# Table 2, experiment 1: CAMs are pulled to the class regions directly, without prototypes.
_base_ = './rcm_mam_r38_voc.py'
model = dict(rcm=dict(mode='direct'), mam=None)
