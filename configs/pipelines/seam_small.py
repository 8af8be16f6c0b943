# SEAM -> AffinityNet -> DeepLab on EfficientNet-Lite0. SEAM's maps are narrower than a plain CAM's: these backgrounds
# leave it as many pixels as those of affinitynet_small.py leave to that (every twelfth training image of voc8).
_base_ = './affinitynet_small.py'
configs = dict(cam='../seam/seam_efflite0_small.py')
stages = dict(
    affinity_label=dict(background=dict(foreground=dict(threshold=0.36), background=dict(threshold=0.19))),
    walk=dict(cfg_options={'model.test_cfg.alpha': 4.5}))
