# InferCam on the generated scenes of `make demo`, with their scales.
_base_ = '../cam/cam_efflite0_generated.py'
model = dict(inference_hooks=[
    dict(type='InferCam'),
    dict(type='MultiScaleFlip', scales=(1.5, 2.0, 3.0), flip=True)])
