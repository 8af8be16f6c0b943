# SSA on the generated scenes of `make demo`, with their scales; see ssa_efflite0_small.py for the stages.
_base_ = '../cam/cam_efflite0_generated.py'
model = dict(test_cfg=dict(normalize='min_max'), inference_hooks=[
    dict(type='MultiScaleFlip', scales=(1.5, 2.0, 3.0), flip=True),
    dict(type='SSA', stages=('2', '4'))])
