# The baseline pipeline with ResNet50 and the default thresholds; --weights names its ImageNet weights (caffe style,
# torchvision key names).
_base_ = './_base_/cam.py'
configs = dict(cam='../cam/cam_r50_small.py', segmentor='../segmentation/deeplab_r50_small.py')
