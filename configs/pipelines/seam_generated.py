# SEAM -> AffinityNet -> DeepLab on generated scenes.
_base_ = './affinitynet_generated.py'
configs = dict(cam='../seam/seam_efflite0_generated.py')
