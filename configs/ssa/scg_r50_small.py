# SCG (of SPA, CVPR 2021), SSA's peer at inference.
_base_ = '../cam/cam_r50_small.py'
model = dict(inference_hooks=[
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True),
    dict(type='SCG', stages=('2', '3'))])
