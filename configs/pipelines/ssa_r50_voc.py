# SSA -> IRNet, for 5 epochs -> DeepLabV2 on VOC, with the thresholds of ssa_r50_small.py.
_base_ = './irnet_r50_voc.py'
configs = dict(cam='../ssa/ssa_r50_voc.py')
stages = dict(
    irnet_label=dict(background=dict(foreground=dict(threshold=0.7), background=dict(threshold=0.3))),
    irnet_walk=dict(cfg_options={'model.test_cfg.background': 0.58}),
    irnet_crf=dict(background=dict(threshold=0.58)))
cfg_options = dict(irnet={'train_cfg.max_epochs': 5})  # section 4.2
