# CAM, IRNet, segmentor with ResNet50; --weights names its ImageNet weights (caffe style, torchvision key names).
_base_ = './_base_/irnet.py'
configs = dict(cam='../cam/cam_r50_small.py', irnet='../irnet/irnet_r50_small.py',
               segmentor='../segmentation/deeplab_r50_small.py')
