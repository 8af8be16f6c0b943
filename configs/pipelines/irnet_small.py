# CAM, IRNet, segmentor on EfficientNet-Lite0.
_base_ = './irnet_r50_small.py'
configs = dict(cam='../cam/cam_efflite0_small.py', irnet='../irnet/irnet_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small.py')
