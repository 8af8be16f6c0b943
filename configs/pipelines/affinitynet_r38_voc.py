# CAM, AffinityNet, DeepLab on VOC with ResNet38: the base of the papers' pipelines. Trained on the pseudo labels of
# train_aug (10,582 images), judged on train (1,464 of them) and val, as the papers do. Not run here: ImageNet weights
# of ResNet38 could not be had.
configs = dict(cam='../cam/cam_r38_voc.py', affinity='../affinitynet/affinitynet_r38_voc.py',
               segmentor='../segmentation/deeplab_v1_r38_voc.py')
# As in ../_base_/postprocessing/affinity_label_softmax.py.
confident = dict(
    background=dict(type='confident', foreground=dict(type='power', alpha=4), background=dict(type='power', alpha=24)),
    postprocessors=[dict(type='DenseCRF', unary='softmax', bilateral_sxy=80, bilateral_srgb=13)])
stages = [
    dict(name='classifier', type='train', config='cam', split='train_aug'),
    dict(name='cam', type='make_cam', config='cam', split='train_aug', inputs=dict(checkpoint='classifier')),
    dict(name='eval_cam', type='eval_cam', split='train', inputs=dict(cams='cam')),
    dict(name='affinity_label', type='pseudo_label', split='train_aug', inputs=dict(cams='cam'), **confident),
    dict(name='affinity', type='train', config='affinity', split='train_aug', inputs=dict(labels='affinity_label')),
    dict(name='walk', type='refine_cam', config='affinity', split='train_aug',
         inputs=dict(checkpoint='affinity', cams='cam')),
    dict(name='eval_walk', type='eval_cam', split='train', inputs=dict(cams='walk')),
    dict(name='eval_walk_label', type='eval_label', split='train', inputs=dict(labels='walk/labels')),
    dict(name='segmentor', type='train', config='segmentor', split='train_aug', inputs=dict(labels='walk/labels')),
    dict(name='eval_segmentor', type='test', config='segmentor', split='val', tta=True,
         postprocessors=None,  # the final CRF of the segmentor's config
         inputs=dict(checkpoint='segmentor')),
    dict(name='picture_train', type='picture', split='train',
         inputs=dict(cams='cam', confident_pixels='affinity_label', walked='walk/labels')),
    dict(name='picture_val', type='picture', split='val', inputs=dict(predictions='eval_segmentor')),
]
