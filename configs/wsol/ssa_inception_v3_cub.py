# SSA over CAM: stages 4 and 5 of the paper, two self-affinity blocks. Nothing is trained.
_base_ = './cam_inception_v3_cub.py'
model = dict(inference_hooks=[dict(type='SSA', stages=('0', '1'), num_blocks=2)])
