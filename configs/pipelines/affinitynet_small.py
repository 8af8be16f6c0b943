# CAM, AffinityNet, segmentor. Runs on any data set with the splits train and val; EfficientNet-Lite0.
_base_ = './_base_/affinitynet.py'
configs = dict(cam='../cam/cam_efflite0_small.py', affinity='../affinitynet/affinitynet_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small.py')
# EfficientNet-Lite0's CAMs cover larger areas than those of ResNet50, which the published settings were made for. With
# these thresholds and this alpha it has the same share of confident pixels, and of background after the random walk, as
# ResNet50 has with the published ones (on every twelfth training image of voc8).
stages = dict(
    affinity_label=dict(background=dict(
        foreground=dict(_delete_=True, type='constant', threshold=0.49),
        background=dict(_delete_=True, type='constant', threshold=0.25))),
    walk=dict(cfg_options={'model.test_cfg.alpha': 2.4}))
