# CAM, AffinityNet, segmentor: CAMs give labels of confident pixels, from which AffinityNet learns the affinities that
# the CAMs then walk along. Runs on any data set in VOC layout with the splits train and val; EfficientNet-Lite0.
configs = dict(cam='../cam/cam_efflite0_small.py', affinity='../affinitynet/affinitynet_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small.py')
# As in ../_base_/postprocessing/affinity_label_softmax.py: two CRFs, with much and with little background.
confident = dict(
    background=dict(type='confident', foreground=dict(type='power', alpha=4), background=dict(type='power', alpha=24)),
    postprocessors=[dict(type='DenseCRF', unary='softmax', bilateral_sxy=80, bilateral_srgb=13)])
# Walked CAMs say how a class stands against the background, so 0.5 is where AffinityNet itself draws the line.
crf = dict(background=dict(type='constant', threshold=0.5), postprocessors=[
    dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)])
stages = [
    dict(name='classifier', type='train', config='cam', split='train'),
    dict(name='cam', type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    dict(name='eval_cam', type='eval_cam', split='train', inputs=dict(cams='cam')),
    dict(name='affinity_label', type='pseudo_label', split='train', inputs=dict(cams='cam'), **confident),
    dict(name='affinity', type='train', config='affinity', split='train', inputs=dict(labels='affinity_label')),
    dict(name='walk', type='refine_cam', config='affinity', split='train',
         inputs=dict(checkpoint='affinity', cams='cam')),
    dict(name='eval_walk', type='eval_cam', split='train', inputs=dict(cams='walk')),
    dict(name='eval_walk_label', type='eval_label', split='train', inputs=dict(labels='walk/labels')),
    dict(name='label', type='pseudo_label', split='train', inputs=dict(cams='walk'), **crf),
    dict(name='eval_label', type='eval_label', split='train', inputs=dict(labels='label')),
    dict(name='segmentor', type='train', config='segmentor', split='train', inputs=dict(labels='label')),
    dict(name='eval_segmentor', type='test', config='segmentor', split='val', inputs=dict(checkpoint='segmentor')),
    dict(name='picture_train', type='picture', split='train',
         inputs=dict(cams='cam', confident_pixels='affinity_label', walked='walk/labels', with_CRF='label')),
    dict(name='picture_val', type='picture', split='val', inputs=dict(predictions='eval_segmentor')),
]
# The CAMs of EfficientNet-Lite0 are wider than those the published backgrounds were made for: these leave it as many
# confident pixels, and as much background in the walk, as those leave to ResNet50's (every twelfth training image of
# voc8).
options = dict(
    affinity_label=dict(
        background=dict(type='confident', foreground=dict(type='constant', threshold=0.49),
                        background=dict(type='constant', threshold=0.25))),
    walk=dict(cfg_options={'model.test_cfg.alpha': 2.4}))
