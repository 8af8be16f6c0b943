# Tables 1 and 2, baseline: the same network and recipe with the classification loss alone.
_base_ = './rcm_mam_r38_voc.py'
model = dict(rcm=None, mam=None)
