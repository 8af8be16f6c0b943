# CAM, AffinityNet, segmentor. Runs on any data set with the splits train and val; EfficientNet-Lite0.
_base_ = './_base_/affinitynet.py'
configs = dict(cam='../cam/cam_efflite0_small.py', affinity='../affinitynet/affinitynet_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small.py')
# The CAMs of EfficientNet-Lite0 are wider than those the published backgrounds were made for: these leave it as many
# confident pixels, and as much background in the walk, as those leave to ResNet50's (every twelfth training image of
# voc8).
stages = dict(
    affinity_label=dict(background=dict(
        foreground=dict(_delete_=True, type='constant', threshold=0.49),
        background=dict(_delete_=True, type='constant', threshold=0.25))),
    walk=dict(cfg_options={'model.test_cfg.alpha': 2.4}))
