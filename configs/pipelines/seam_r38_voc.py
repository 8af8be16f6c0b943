# SEAM -> AffinityNet -> DeepLabV1 on VOC, all with ResNet38. AffinityNet as in SEAM's fork: learning rate 0.01,
# background exponents 4 and 24 for its labels and 6 in the walk, 64 steps.
_base_ = './affinitynet_r38_voc.py'
configs = dict(cam='../seam/seam_r38_voc.py')
cfg_options = dict(affinity={'optim_wrapper.optimizer.lr': 0.01, 'model.random_walk.steps': 64,
                             'model.test_cfg.alpha': 6})
stages = dict(affinity_label=dict(background=dict(background=dict(alpha=24))))
