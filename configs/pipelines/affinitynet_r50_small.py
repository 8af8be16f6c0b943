# CAM, AffinityNet, segmentor with ResNet50; --weights names its ImageNet weights (caffe style, torchvision key names).
_base_ = './affinitynet_small.py'
configs = dict(cam='../cam/cam_r50_small.py', affinity='../affinitynet/affinitynet_r50_small.py',
               segmentor='../segmentation/deeplab_r50_small.py')
options = dict(_delete_=True)  # the published backgrounds
