# SLAMs -> CRF -> DeepLab on EfficientNet-Lite0: the semantic encoder is trained first, then the activation network that
# it judges.
configs = dict(encoder='../slams/encoder_efflite0_small.py', cam='../slams/slam_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small.py')
stages = [
    dict(name='encoder', type='train', config='encoder', split='train'),
    dict(name='classifier', type='train', config='cam', split='train', inputs=dict(encoder='encoder')),
    dict(name='cam', type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    dict(name='eval_cam', type='eval_cam', split='train', inputs=dict(cams='cam')),
    # The best threshold of the training images of voc8.
    dict(name='label', type='pseudo_label', split='train', inputs=dict(cams='cam'),
         background=dict(type='constant', threshold=0.61), postprocessors=[
             dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)]),
    dict(name='eval_label', type='eval_label', split='train', inputs=dict(labels='label')),
    dict(name='segmentor', type='train', config='segmentor', split='train', inputs=dict(labels='label')),
    dict(name='eval_segmentor', type='test', config='segmentor', split='val', inputs=dict(checkpoint='segmentor')),
    dict(name='picture_train', type='picture', split='train', inputs=dict(cams='cam', with_CRF='label')),
    dict(name='picture_val', type='picture', split='val', inputs=dict(predictions='eval_segmentor')),
]
