# SSA with its defaults, on every scale and mirror image of an EfficientNet-Lite0 classifier.
_base_ = '../cam/cam_efflite0_small.py'
model = dict(test_cfg=dict(normalize='min_max'), inference_hooks=[
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True),
    dict(type='SSA', stages=('2', '4'))])
