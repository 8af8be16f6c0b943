# InferCam over IRNet's ResNet50 classifier, with the inference of infercam_r38_voc.py.
_base_ = '../cam/cam_r50_voc.py'
model = dict(inference_hooks=[
    dict(type='InferCam', split=dict(normalize='patch', include_base=False, align=1, min_size=1),
         erase=dict(normalize='round')),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic')])
