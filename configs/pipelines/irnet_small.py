# CAM, IRNet, segmentor on EfficientNet-Lite0.
_base_ = './irnet_r50_small.py'
configs = dict(cam='../cam/cam_efflite0_small.py', irnet='../irnet/irnet_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small.py')
# The CAMs are wider than ResNet50's: as many pixels for the background as there (every twelfth training image of voc8).
options = dict(
    irnet_label=dict(
        background=dict(type='confident', foreground=dict(type='constant', threshold=0.51),
                        background=dict(type='constant', threshold=0.16), conflict='class')),
    irnet_walk=dict(cfg_options={'model.test_cfg.background': 0.46}),
    irnet_crf=dict(background=dict(type='constant', threshold=0.46)))
