# SEAM -> AffinityNet -> DeepLab, small: the CAMs of affinitynet_r50_small.py come from SEAM.
_base_ = './affinitynet_r50_small.py'
configs = dict(cam='../seam/seam_r50_small.py')
