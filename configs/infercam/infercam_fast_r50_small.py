# InferCam at less than three times the cost of cam_r50_small.py (the paper's factor): the largest scale, which is more
# than half of the pixels, is left out, and there are three rounds at most, which end earlier.
_base_ = '../cam/cam_r50_small.py'
model = dict(inference_hooks=[
    dict(type='InferCam', erase=dict(max_rounds=3, stop_area=0.02)),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5), flip=True)])
