# InferCam -> AffinityNet -> DeepLab with the saliency-conflict loss, small. Needs Saliency/<stem>.png of the training
# images (tools/make_saliency.py). The maps of InferCam are higher everywhere: these backgrounds leave it as many pixels
# as those of affinitynet_small.py leave to a plain CAM (on every twelfth training image of voc8).
_base_ = './affinitynet_r50_small.py'
configs = dict(cam='../infercam/infercam_fast_r50_small.py', segmentor='../segmentation/deeplab_r50_small_saliency.py')
stages = dict(
    affinity_label=dict(background=dict(
        foreground=dict(_delete_=True, type='constant', threshold=0.62),
        background=dict(_delete_=True, type='constant', threshold=0.25))),
    walk=dict(cfg_options={'model.test_cfg.alpha': 1.6}))
