# CAM, IRNet, segmentor on EfficientNet-Lite0.
_base_ = './_base_/irnet.py'
configs = dict(cam='../cam/cam_efflite0_small.py', irnet='../irnet/irnet_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small.py')
# The CAMs are wider than ResNet50's: as many pixels for the background as there (every twelfth training image of voc8).
stages = dict(
    irnet_label=dict(background=dict(foreground=dict(threshold=0.51), background=dict(threshold=0.16))),
    irnet_walk=dict(cfg_options={'model.test_cfg.background': 0.46}),
    irnet_crf=dict(background=dict(threshold=0.46)))
