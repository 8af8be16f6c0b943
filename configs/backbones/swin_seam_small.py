# SEAM on Swin-T; PCM looks at the stages of stride 8 and 16, the CAM head at that of stride 16.
_base_ = '../seam/seam_efflite0_small.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    classifier=dict(
        backbone=dict(_delete_=True, type='HFBackbone', model='microsoft/swin-tiny-patch4-window7-224',
                      out_indices=(2, 3)),
        cam_head=dict(in_channels=384)),
    pcm=dict(in_channels=(192, 384), in_indices=(0, 1)))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=5e-5, weight_decay=0.05),
                     paramwise_cfg=dict(bias_mult=1))
