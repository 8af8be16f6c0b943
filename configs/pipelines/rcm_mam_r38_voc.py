# RCM + MAM -> AffinityNet -> DeepLab-LargeFOV on VOC, all with ResNet38.
_base_ = './affinitynet_r38_voc.py'
configs = dict(cam='../rcm_mam/rcm_mam_r38_voc.py', segmentor='../segmentation/deeplab_largefov_r38_voc.py')
