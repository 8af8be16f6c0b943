# SSA's schedule of the last stage: lr 2.5e-4, 30k iterations.
_base_ = './seg_poly_iters.py'
max_iters = 30000
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters)
