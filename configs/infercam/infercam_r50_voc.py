# InferCam over IRNet's ResNet50 classifier.
_base_ = '../cam/cam_r50_voc.py'
model = dict(inference_hooks=[
    dict(type='InferCam'),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic')])
