# The baseline pipeline on generated scenes: fewer iterations an epoch to go round, and the default thresholds.
_base_ = './_base_/cam.py'
configs = dict(cam='../cam/cam_efflite0_generated.py', segmentor='../segmentation/deeplab_efflite0_generated.py')
