# IRNet on a frozen DINOv2: of four blocks of one stride a pyramid is made by resizing.
_base_ = '../irnet/irnet_r50_small.py'
channels, taps = (384,) * 5, (0, 0, 1, 2, 3)
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(_delete_=True, type='HFBackbone', model='facebook/dinov2-small', out_indices=(3, 6, 9, 12),
                  out_strides=(4, 8, 16, 16), frozen=True),
    edge_head=dict(in_channels=channels, in_indices=taps),
    displacement_head=dict(in_channels=channels, in_indices=taps))
