# Tables 1 and 2, RCM alone.
_base_ = './rcm_mam_r38_voc.py'
model = dict(mam=None)
