# AffinityNet on ResNet38, output stride 8: conv4, conv5 and conv6 become an embedding. The backbone is fine-tuned, but
# for conv1a, the first stage and every BatchNorm.
model = dict(
    type='AffinityNet',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    backbone=dict(type='ResNet38', frozen_stages=1, norm_eval=True, norm_frozen=True),
    affinity_head=dict(type='AffinityHead', in_channels=(512, 1024, 4096)),
    loss_affinity=dict(type='AffinityLoss'),
    radius=5,
    random_walk=dict(type='RandomWalk', beta=8, steps=256, radius=5),
    test_cfg=dict(alpha=16, stride=4))
