# InferCam over a ResNet38 classifier of output stride 8, as in the paper (section 4.1). The paper took AffinityNet's
# released weights as they are (README.md has the command); the recipe of a training here is AffinityNet's, too.
# Inference is the paper's, not the hook's defaults. The maximum over the rounds, at most five of them, and the
# overlaps are the released code's: the paper adds the rounds up, and names no other number.
_base_ = '../cam/cam_r38_voc_psa.py'
model = dict(inference_hooks=[
    dict(type='InferCam', split=dict(normalize='patch', include_base=False, align=1, min_size=1),
         erase=dict(normalize='round')),
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic')])
