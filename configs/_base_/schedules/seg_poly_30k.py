# SSA's schedule of the last stage: lr 2.5e-4, 30k iterations.
_base_ = './seg_poly_iters.py'
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
train_cfg = dict(max_iters=30000)
