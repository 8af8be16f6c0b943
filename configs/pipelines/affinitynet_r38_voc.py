# CAM, AffinityNet, DeepLab on VOC with ResNet38: AffinityNet's own, and the base of other papers' pipelines, each of
# which names its config `cam`. Trained on the pseudo labels of train_aug (10,582 images), evaluated on train (1,464 of
# them) and val, as the papers do. Not measured yet.
_base_ = './_base_/affinitynet.py'
configs = dict(cam='../cam/cam_r38_voc_psa.py', affinity='../affinitynet/affinitynet_r38_voc.py',
               segmentor='../segmentation/deeplab_v1_r38_voc.py')
_aug = dict(split='train_aug')
# Figures "with CRF" are those of AffinityNet's CRF at the best threshold of the CAMs.
_crf = dict(type='DenseCRF', unary='softmax', bilateral_sxy=80, bilateral_srgb=13)
stages = dict(
    classifier=_aug, cam=_aug, eval_cam=dict(details=True, postprocessors=[_crf]), affinity_label=_aug,
    affinity=_aug, walk=_aug,
    # The segmentor learns from the walk's own label maps, without a CRF.
    label=None, eval_label=None, segmentor=dict(split='train_aug', inputs=dict(labels='walk/labels')),
    eval_segmentor=dict(tta=True, postprocessors=None),  # the final CRF of the segmentor's config
    picture_train=dict(inputs=dict(with_CRF=None)))
