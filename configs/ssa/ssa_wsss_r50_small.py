# SSA with the cross guidance between the stages that the paper adds for segmentation (section 4.2).
_base_ = '../cam/cam_r50_small.py'
model = dict(test_cfg=dict(normalize='min_max'), inference_hooks=[
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True),
    dict(type='SSA', stages=('2', '3'), wsss=True)])
