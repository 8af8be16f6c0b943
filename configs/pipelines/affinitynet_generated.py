# CAM, AffinityNet, segmentor on generated scenes, with the backgrounds of SEAM's fork.
_base_ = './_base_/affinitynet.py'
configs = dict(cam='../cam/cam_efflite0_generated.py', affinity='../affinitynet/affinitynet_efflite0_generated.py',
               segmentor='../segmentation/deeplab_efflite0_generated.py')
stages = dict(affinity_label=dict(background=dict(background=dict(alpha=24))))
