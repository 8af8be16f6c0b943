# SSA -> IRNet -> DeepLab on EfficientNet-Lite0. The thresholds leave as many pixels to the background as 0.3, 0.05 and
# 0.2 of ResNet50's plain CAM (on every twelfth training image of voc8).
_base_ = './irnet_small.py'
configs = dict(cam='../ssa/ssa_efflite0_small.py')
stages = dict(
    irnet_label=dict(background=dict(foreground=dict(threshold=0.74), background=dict(threshold=0.29))),
    irnet_walk=dict(cfg_options={'model.test_cfg.background': 0.63}),
    irnet_crf=dict(background=dict(threshold=0.63)))
