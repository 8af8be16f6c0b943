# SSA on EfficientNet-Lite0: '2' is the last stage of 112 channels (not activated), '4' the head's 1,280 (relu6).
_base_ = '../cam/cam_efflite0_small.py'
model = dict(test_cfg=dict(normalize='min_max'), inference_hooks=[
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True),
    dict(type='SSA', stages=('2', '4'))])
