# SSA over CAM: stages 4 and 5 of the paper, two self-affinity blocks. Nothing is trained.
_base_ = './cam_vgg16_small.py'
model = dict(inference_hooks=[dict(type='SSA', stages=('1', '2'), num_blocks=2)])
