# RCM + MAM -> AffinityNet -> DeepLab on EfficientNet-Lite0.
_base_ = './affinitynet_small.py'
configs = dict(cam='../rcm_mam/rcm_mam_efflite0_small.py')
