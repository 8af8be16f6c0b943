# Tables 1 and 2, MAM alone.
_base_ = './rcm_mam_r38_voc.py'
model = dict(rcm=None)
