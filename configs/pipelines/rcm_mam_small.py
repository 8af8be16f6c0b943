# RCM + MAM -> AffinityNet -> DeepLab on EfficientNet-Lite0. These backgrounds leave it as many pixels as those of
# affinitynet_small.py leave to the plain CAM (every twelfth training image of voc8).
_base_ = './affinitynet_small.py'
configs = dict(cam='../rcm_mam/rcm_mam_efflite0_small.py')
options = dict(
    affinity_label=dict(
        background=dict(type='confident', foreground=dict(type='constant', threshold=0.55),
                        background=dict(type='constant', threshold=0.17))),
    walk=dict(cfg_options={'model.test_cfg.alpha': 2.8}))
