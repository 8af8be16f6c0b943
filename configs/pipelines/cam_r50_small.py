# The baseline pipeline with ResNet50; --weights names its ImageNet weights (caffe style, torchvision key names).
_base_ = './cam_small.py'
configs = dict(cam='../cam/cam_r50_small.py', segmentor='../segmentation/deeplab_r50_small.py')
options = dict(_delete_=True)  # the default thresholds
