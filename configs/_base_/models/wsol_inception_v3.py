# Inception V3 up to its last module of 17 x 17, at stride 8 as SPG has it, two 3x3 convolutions of 1,024 channels, the
# CAM head. Feature maps '0' and '1' (Mixed_5d and Mixed_6e) are read as the paper's stages 4 and 5.
model = dict(
    type='LocalizationClassifier',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(224, 224)),
    backbone=dict(type='InceptionV3', output_stride=8, out_indices=(2, 3)),
    neck=dict(type='ConvStack', in_channels=768, layers=((1024, 3, 1), (1024, 3, 1))),
    cam_head=dict(type='SingleLabelCAMHead', in_channels=1024, num_classes=None),
    test_cfg=dict(class_filter='label', stride=1, normalize='min_max', rectify='min', crop_size=224, ten_crop=True))
