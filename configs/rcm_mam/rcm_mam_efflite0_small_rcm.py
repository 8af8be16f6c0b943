# Tables 1 and 2, RCM alone.
_base_ = './rcm_mam_efflite0_small.py'
model = dict(mam=None)
