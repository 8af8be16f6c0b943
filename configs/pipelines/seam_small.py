# SEAM -> AffinityNet -> DeepLab on EfficientNet-Lite0.
_base_ = './affinitynet_small.py'
configs = dict(cam='../seam/seam_efflite0_small.py')
