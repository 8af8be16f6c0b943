# InferCam with its defaults: split & unite around iterative inference, every round with all scales and mirror images.
_base_ = '../cam/cam_r50_small.py'
model = dict(inference_hooks=[
    dict(type='InferCam'),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True)])
