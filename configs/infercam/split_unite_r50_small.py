# Split & unite alone, with the hook's defaults.
_base_ = '../cam/cam_r50_small.py'
model = dict(inference_hooks=[
    dict(type='SplitUnite'),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True)])
