# VGG16-GAP: ImageNet VGG16 at stride 16, a 3x3 convolution of 1,024 channels, the CAM head. Feature maps '0' to '2' are
# the paper's stages 3 to 5. The weights (torchvision's key names, less `classifier.*`) are the user's to bring.
model = dict(
    type='LocalizationClassifier',
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(224, 224)),
    backbone=dict(type='VGG16', output_stride=16, out_indices=(2, 3, 4)),
    neck=dict(type='ConvStack', in_channels=512, layers=((1024, 3, 1),)),
    cam_head=dict(type='SingleLabelCAMHead', in_channels=1024, num_classes=None),
    # The map is that of the whole image at 224 x 224; the scores are those of ten crops of 256 x 256 (section 4.1).
    test_cfg=dict(class_filter='label', stride=1, normalize='min_max', rectify='min', crop_size=224, ten_crop=True))
