# SSA along the last block of the frozen DINOv2 of dinov2_cam_small.py, inside of the scales.
_base_ = './dinov2_cam_small.py'
model = dict(test_cfg=dict(normalize='min_max'), inference_hooks=[
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True),
    dict(type='SSA', stages=('0',))])
