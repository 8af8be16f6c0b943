# seg_sgd.py for short trainings at a high rate, which rises over the first epoch. At its full height from the first
# step on, one training of several ends in a backbone with the same features for any image, and one class everywhere.
_base_ = './seg_sgd.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, by_epoch=True, convert_to_iter_based=True),
]
