# IRNet on ResNet50 in torchvision's style (stride in the 3x3 convolution), output stride 16; the backbone is frozen.
model = dict(
    type='IRNet',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    backbone=dict(type='ResNetWithStem', depth=50, style='pytorch', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1),
                  frozen_stages=4, norm_eval=True),
    edge_head=dict(type='EdgeHead', in_channels=(64, 256, 512, 1024, 2048)),
    displacement_head=dict(type='DisplacementHead', in_channels=(64, 256, 512, 1024, 2048)),
    loss_affinity=dict(type='AffinityLoss'),
    loss_displacement=dict(type='DisplacementLoss'),
    radius=10,
    random_walk=dict(type='RandomWalk', beta=10, steps=256, radius=5),
    test_cfg=dict(background=0.25, pad_size=512, stride=4))
