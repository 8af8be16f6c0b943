# InferCam -> AffinityNet -> DeepLab with the saliency-conflict loss on EfficientNet-Lite0. Needs Saliency/<stem>.png
# of the training images (tools/make_saliency.py). The maps of InferCam are higher everywhere: these backgrounds leave
# it as many pixels as those of affinitynet_small.py leave to a plain CAM (on every twelfth training image of voc8).
_base_ = './affinitynet_small.py'
configs = dict(cam='../infercam/infercam_fast_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small_saliency.py')
stages = dict(
    affinity_label=dict(background=dict(foreground=dict(threshold=0.77), background=dict(threshold=0.52))),
    walk=dict(cfg_options={'model.test_cfg.alpha': 0.44}))
