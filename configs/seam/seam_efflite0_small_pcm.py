# Table 1: without online hard example mining.
_base_ = './seam_efflite0_small.py'
model = dict(loss_ecr=dict(hard_ratio=1.0))
