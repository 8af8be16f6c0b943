# CAM, AffinityNet, segmentor: CAMs give labels of confident pixels, from which AffinityNet learns the affinities that
# the CAMs then walk along. A pipeline that inherits it names its configs: cam, affinity, segmentor.
stages = dict(
    classifier=dict(type='train', config='cam', split='train'),
    cam=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    eval_cam=dict(type='eval_cam', split='train', inputs=dict(cams='cam')),
    # As in ../../_base_/postprocessing/affinity_label_softmax.py: two CRFs, with a high and with a low background.
    # PSA's README has train mIoU 61.0 for 4 and 32 (and 16 in the walk), 58.1 for 4 and 24; SEAM's fork takes 24.
    affinity_label=dict(
        type='pseudo_label', split='train', inputs=dict(cams='cam'),
        background=dict(type='confident', foreground=dict(type='power', alpha=4),
                        background=dict(type='power', alpha=32)),
        postprocessors=[dict(type='DenseCRF', unary='softmax', bilateral_sxy=80, bilateral_srgb=13)]),
    affinity=dict(type='train', config='affinity', split='train', inputs=dict(labels='affinity_label')),
    walk=dict(type='refine_cam', config='affinity', split='train', inputs=dict(checkpoint='affinity', cams='cam')),
    eval_walk=dict(type='eval_cam', split='train', inputs=dict(cams='walk')),
    eval_walk_label=dict(type='eval_label', split='train', inputs=dict(labels='walk/labels')),
    # Walked CAMs say how a class stands against the background, so 0.5 is where AffinityNet itself draws the line.
    label=dict(type='pseudo_label', split='train', inputs=dict(cams='walk'),
               background=dict(type='constant', threshold=0.5),
               postprocessors=[dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)]),
    eval_label=dict(type='eval_label', split='train', inputs=dict(labels='label')),
    segmentor=dict(type='train', config='segmentor', split='train', inputs=dict(labels='label')),
    eval_segmentor=dict(type='test', config='segmentor', split='val', inputs=dict(checkpoint='segmentor')),
    picture_train=dict(type='picture', split='train', inputs=dict(
        cams='cam', confident_pixels='affinity_label', walked='walk/labels', with_CRF='label')),
    picture_val=dict(type='picture', split='val', inputs=dict(predictions='eval_segmentor')),
)
