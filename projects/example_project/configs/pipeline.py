# From images to labels with all parts of my_method.
custom_imports = dict(imports=['my_method'], allow_failed_imports=False)
configs = dict(cam='cam_lse_efflite0_small.py')
stages = dict(
    classifier=dict(type='train', config='cam', split='train'),
    cam=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    area=dict(type='cam_area', split='train', inputs=dict(cams='cam')),
    label=dict(type='pseudo_label', split='train', inputs=dict(cams='cam'),
               postprocessors=[dict(type='SmoothScores', radius=2)]),
    eval_label=dict(type='eval_label', split='train', inputs=dict(labels='label')))
