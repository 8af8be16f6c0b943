# RCM + MAM -> AffinityNet -> DeepLab on generated scenes.
_base_ = './affinitynet_generated.py'
configs = dict(cam='../rcm_mam/rcm_mam_efflite0_generated.py')
