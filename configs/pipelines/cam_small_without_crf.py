# The baseline pipeline without CRF: the segmentor learns from the labels of the
# threshold alone.
_base_ = './cam_small.py'
stages = [
    dict(name='classifier', type='train', config='cam', split='train'),
    dict(name='cam', type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    dict(name='eval_cam', type='eval_cam', split='train', inputs=dict(cams='cam')),
    dict(name='label', type='pseudo_label', split='train', inputs=dict(cams='cam'),
         background=dict(type='constant', threshold=0.2)),
    dict(name='eval_label', type='eval_label', split='train', inputs=dict(labels='label')),
    dict(name='segmentor', type='train', config='segmentor', split='train', inputs=dict(labels='label')),
    dict(name='eval_segmentor', type='test', config='segmentor', split='val', inputs=dict(checkpoint='segmentor')),
    dict(name='picture_train', type='picture', split='train', inputs=dict(cams='cam', pseudo_label='label')),
    dict(name='picture_val', type='picture', split='val', inputs=dict(predictions='eval_segmentor')),
]
options = dict(_delete_=True, label=dict(background=dict(type='constant', threshold=0.36)))  # as in cam_small.py
