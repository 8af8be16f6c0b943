# The baseline of SEAM's Table 7: a plain CAM, and everything after it as in seam_r38_voc.py, how its maps are
# resized and normalised too.
_base_ = './seam_r38_voc.py'
configs = dict(cam='../cam/cam_r38_voc.py')
cfg_options = dict(cam={
    'model.inference_hooks': [dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, stride=1,
                                   interpolation='bicubic', align_views=True)],
    'model.test_cfg.normalize': 'min_max', 'model.test_cfg.full_size': True})
