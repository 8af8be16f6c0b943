# Iterative inference alone, on the whole image, with the hook's defaults.
_base_ = '../cam/cam_r50_small.py'
model = dict(inference_hooks=[
    dict(type='IterativeErase'),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True)])
