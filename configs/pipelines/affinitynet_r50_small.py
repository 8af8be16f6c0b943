# CAM, AffinityNet, segmentor with ResNet50 and the backgrounds of SEAM's fork; --weights names its ImageNet weights
# (caffe style, torchvision key names).
_base_ = './_base_/affinitynet.py'
configs = dict(cam='../cam/cam_r50_small.py', affinity='../affinitynet/affinitynet_r50_small.py',
               segmentor='../segmentation/deeplab_r50_small.py')
stages = dict(affinity_label=dict(background=dict(background=dict(alpha=24))))
