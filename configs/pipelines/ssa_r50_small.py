# SSA -> IRNet -> DeepLab, small: the CAMs of irnet_r50_small.py are spread by SSA. Its maps are higher everywhere; the
# thresholds leave as many pixels to the background as 0.3, 0.05 and 0.2 of a plain CAM (on every twelfth training image
# of voc8).
_base_ = './irnet_r50_small.py'
configs = dict(cam='../ssa/ssa_r50_small.py')
stages = dict(
    irnet_label=dict(background=dict(foreground=dict(threshold=0.7), background=dict(threshold=0.3))),
    irnet_walk=dict(cfg_options={'model.test_cfg.background': 0.58}),
    irnet_crf=dict(background=dict(threshold=0.58)))
