# CAM, AffinityNet, segmentor on generated scenes: the same, with fewer iterations an epoch to go round.
_base_ = './affinitynet_small.py'
configs = dict(cam='../cam/cam_efflite0_generated.py', affinity='../affinitynet/affinitynet_efflite0_generated.py',
               segmentor='../segmentation/deeplab_efflite0_generated.py')
options = dict(_delete_=True)  # the published backgrounds
