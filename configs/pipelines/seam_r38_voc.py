# SEAM -> AffinityNet -> DeepLabV1 on VOC, all with ResNet38. AffinityNet as in SEAM's fork: learning rate 0.01,
# background exponent 6, 64 steps.
_base_ = './affinitynet_r38_voc.py'
configs = dict(cam='../seam/seam_r38_voc.py')
cfg_options = dict(affinity={'optim_wrapper.optimizer.lr': 0.01, 'model.random_walk.steps': 64,
                             'model.test_cfg.alpha': 6})
