# The baseline pipeline without CRF: the segmentor learns from the labels of the
# threshold alone.
_base_ = './cam_small.py'
stages = dict(
    cam_scale_1=None, eval_cam_scale_1=None, label_crf=None, eval_label_crf=None,
    segmentor=dict(inputs=dict(labels='label')),
    picture_train=dict(inputs=dict(with_CRF=None)))
