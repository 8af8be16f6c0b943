# InferCam -> AffinityNet -> DeepLabV2 (ResNet101) with the saliency-conflict loss on VOC. Needs Saliency/<stem>.png of
# the training images (tools/make_saliency.py). The paper takes AffinityNet's released classifier: ../infercam/README.md
# has the command.
_base_ = './affinitynet_r38_voc.py'
configs = dict(cam='../infercam/infercam_r38_voc.py', segmentor='../segmentation/deeplab_v2_r101_voc_saliency.py')
# "Also, we apply fully connected random fields to refine the pseudo-label object boundaries" (section 4.1), on what the
# random walk has found.
stages = dict(
    label=dict(_delete_=True, type='pseudo_label', split='train_aug', inputs=dict(cams='walk'),
               after='eval_walk_label', background=dict(type='constant', threshold=0.5),
               postprocessors=[dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)]),
    eval_label=dict(_delete_=True, type='eval_label', split='train', inputs=dict(labels='label'), after='label'),
    segmentor=dict(inputs=dict(labels='label')),
    picture_train=dict(inputs=dict(with_CRF='label')))
