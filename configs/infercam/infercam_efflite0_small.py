# infercam_r50_small.py on EfficientNet-Lite0.
_base_ = '../cam/cam_efflite0_small.py'
model = dict(inference_hooks=[
    dict(type='InferCam'),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True)])
