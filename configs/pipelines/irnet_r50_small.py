# CAM, IRNet, segmentor with ResNet50; --weights names its ImageNet weights (caffe style, torchvision key names). The
# same stages as with AffinityNet: what IRNet is trained with, and where it draws the line, is its own.
configs = dict(cam='../cam/cam_r50_small.py', irnet='../irnet/irnet_r50_small.py',
               segmentor='../segmentation/deeplab_r50_small.py')
_crf = dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)
# As in ../_base_/postprocessing/affinity_label_hard.py: two CRFs, with much and with little background.
confident = dict(
    background=dict(type='confident', foreground=dict(type='constant', threshold=0.3),
                    background=dict(type='constant', threshold=0.05), conflict='class'),
    postprocessors=[_crf])
crf = dict(background=dict(type='constant', threshold=0.25), postprocessors=[_crf])
stages = [
    dict(name='classifier', type='train', config='cam', split='train'),
    dict(name='cam', type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    dict(name='eval_cam', type='eval_cam', split='train', inputs=dict(cams='cam')),
    dict(name='irnet_label', type='pseudo_label', split='train', inputs=dict(cams='cam'), **confident),
    dict(name='irnet', type='train', config='irnet', split='train', inputs=dict(labels='irnet_label')),
    dict(name='irnet_walk', type='refine_cam', config='irnet', split='train',
         inputs=dict(checkpoint='irnet', cams='cam')),
    dict(name='eval_irnet_walk', type='eval_cam', split='train', inputs=dict(cams='irnet_walk')),
    dict(name='eval_irnet_walk_label', type='eval_label', split='train', inputs=dict(labels='irnet_walk/labels')),
    dict(name='irnet_crf', type='pseudo_label', split='train', inputs=dict(cams='irnet_walk'), **crf),
    dict(name='eval_irnet_crf', type='eval_label', split='train', inputs=dict(labels='irnet_crf')),
    dict(name='irnet_segmentor', type='train', config='segmentor', split='train', inputs=dict(labels='irnet_crf')),
    dict(name='eval_irnet_segmentor', type='test', config='segmentor', split='val',
         inputs=dict(checkpoint='irnet_segmentor')),
    dict(name='picture_irnet', type='picture', split='train',
         inputs=dict(cams='cam', confident_pixels='irnet_label', walked='irnet_walk/labels', with_CRF='irnet_crf')),
    dict(name='picture_val', type='picture', split='val', inputs=dict(predictions='eval_irnet_segmentor')),
]
