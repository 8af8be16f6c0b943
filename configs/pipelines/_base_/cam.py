# From photographs with image-level labels to a segmentor, with nothing but CAMs: the baseline of all methods.
# A pipeline that inherits it names its configs: cam, segmentor.
crf = dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)
single_scale = dict(type='MultiScaleFlip', scales=(1.0, ), flip=True)
# A default threshold (mmwsss/postprocessing/defaults.py): a user without masks has no curve to choose one from.
line = dict(type='constant', threshold=0.2)
stages = dict(
    classifier=dict(type='train', config='cam', split='train'),
    cam_scale_1=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier'),
                     cfg_options={'model.inference_hooks': [single_scale]}),
    eval_cam_scale_1=dict(type='eval_cam', split='train', inputs=dict(cams='cam_scale_1')),
    cam=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    eval_cam=dict(type='eval_cam', split='train', inputs=dict(cams='cam')),
    label=dict(type='pseudo_label', split='train', inputs=dict(cams='cam'), background=line),
    eval_label=dict(type='eval_label', split='train', inputs=dict(labels='label')),
    label_crf=dict(type='pseudo_label', split='train', inputs=dict(cams='cam'), background=line, postprocessors=[crf]),
    eval_label_crf=dict(type='eval_label', split='train', inputs=dict(labels='label_crf')),
    segmentor=dict(type='train', config='segmentor', split='train', inputs=dict(labels='label_crf')),
    eval_segmentor=dict(type='test', config='segmentor', split='val', inputs=dict(checkpoint='segmentor')),
    picture_train=dict(type='picture', split='train',
                       inputs=dict(cams='cam', pseudo_label='label', with_CRF='label_crf')),
    picture_val=dict(type='picture', split='val', inputs=dict(predictions='eval_segmentor')),
)
