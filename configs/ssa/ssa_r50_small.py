# SSA with its defaults, on every scale and mirror image of a ResNet50 classifier (stages 4 and 5 of the paper).
_base_ = '../cam/cam_r50_small.py'
model = dict(test_cfg=dict(normalize='min_max'), inference_hooks=[
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True),
    dict(type='SSA', stages=('2', '3'))])
