# SPA as published: its self-correlations (SCG) in place of SSA, the second order of stages 4 and 5.
_base_ = './spa_vgg16_cub.py'
model = dict(inference_hooks=[dict(type='SCG', stages=('1', '2'))])
