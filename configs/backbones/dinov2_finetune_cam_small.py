# All of DINOv2 is trained: the head at 1e-3, the last block at 7.5e-5, every block before it at 0.75 of the one behind.
_base_ = './dinov2_cam_small.py'
model = dict(backbone=dict(frozen=False, with_cp=True))
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0.05),
                     paramwise_cfg=dict(bias_mult=1, new_weight_mult=10, new_bias_mult=10, layer_decay=0.75))
