# Table 1: without online hard example mining.
_base_ = './seam_r38_voc.py'
model = dict(loss_ecr=dict(hard_ratio=1.0))
