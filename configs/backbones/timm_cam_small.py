# A CAM on a backbone of timm, here ResNet26d at stride 16: pip install timm (which needs torchvision).
_base_ = '../cam/cam_efflite0_small.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, type='mmseg.TIMMBackbone', model_name='resnet26d', features_only=True, pretrained=True,
                  output_stride=16, out_indices=(1, 2, 3, 4)),
    cam_head=dict(in_channels=2048))
