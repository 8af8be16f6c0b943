# RCM + MAM -> AffinityNet -> DeepLab on EfficientNet-Lite0. These backgrounds leave it as many pixels as those of
# affinitynet_small.py leave to the plain CAM (every twelfth training image of voc8).
_base_ = './affinitynet_small.py'
configs = dict(cam='../rcm_mam/rcm_mam_efflite0_small.py')
stages = dict(
    affinity_label=dict(background=dict(foreground=dict(threshold=0.55), background=dict(threshold=0.17))),
    walk=dict(cfg_options={'model.test_cfg.alpha': 2.8}))
