# CAM, IRNet, segmentor: the same stages as with AffinityNet; what IRNet is trained with, and where it draws the line,
# is its own. A pipeline that inherits it names its configs: cam, irnet, segmentor.
_crf = dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)
stages = dict(
    classifier=dict(type='train', config='cam', split='train'),
    cam=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    eval_cam=dict(type='eval_cam', split='train', inputs=dict(cams='cam')),
    # As in ../../_base_/postprocessing/affinity_label_hard.py: two CRFs, with a high and with a low background.
    irnet_label=dict(
        type='pseudo_label', split='train', inputs=dict(cams='cam'),
        background=dict(type='confident', foreground=dict(type='constant', threshold=0.3),
                        background=dict(type='constant', threshold=0.05), conflict='class'),
        postprocessors=[_crf]),
    irnet=dict(type='train', config='irnet', split='train', inputs=dict(labels='irnet_label')),
    irnet_walk=dict(type='refine_cam', config='irnet', split='train', inputs=dict(checkpoint='irnet', cams='cam')),
    eval_irnet_walk=dict(type='eval_cam', split='train', inputs=dict(cams='irnet_walk')),
    eval_irnet_walk_label=dict(type='eval_label', split='train', inputs=dict(labels='irnet_walk/labels')),
    irnet_crf=dict(type='pseudo_label', split='train', inputs=dict(cams='irnet_walk'),
                   background=dict(type='constant', threshold=0.25), postprocessors=[_crf]),
    eval_irnet_crf=dict(type='eval_label', split='train', inputs=dict(labels='irnet_crf')),
    irnet_segmentor=dict(type='train', config='segmentor', split='train', inputs=dict(labels='irnet_crf')),
    eval_irnet_segmentor=dict(type='test', config='segmentor', split='val',
                              inputs=dict(checkpoint='irnet_segmentor')),
    picture_irnet=dict(type='picture', split='train', inputs=dict(
        cams='cam', confident_pixels='irnet_label', walked='irnet_walk/labels', with_CRF='irnet_crf')),
    picture_val=dict(type='picture', split='val', inputs=dict(predictions='eval_irnet_segmentor')),
)
