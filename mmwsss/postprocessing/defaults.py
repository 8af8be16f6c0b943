"""Default backgrounds of ``tools/make_pseudo_label.py``, for users without masks.

The best background threshold of a CAM method is read off a threshold curve, which needs ground-truth masks
("oracle"). A user without masks has no curve, so one number has to do. It can, because the maps of a
:class:`~mmwsss.structures.cam_file.CAMFile` are in [0, 1] per class and image: a threshold means the same
fraction of the highest activation on every image. Still, the best value moves with method and data; who has
masks for a few images should look at ``tools/eval_cam.py``.

To change a default, change it here and in ``configs/_base_/postprocessing/`` (a test compares them).
"""

# Without CRF. 0.3 is the constant background above which IRNet takes a CAM for confident foreground.
DEFAULT_BACKGROUND = {'type': 'constant', 'threshold': 0.3}

# With CRF, by the kind of its unary. They need not equal the one without: as a softmax unary the background's
# score is its probability everywhere and so pulls at every pixel, while a hard-label unary knows only which score
# is the highest.
DEFAULT_CRF_BACKGROUND = {
    'softmax': {'type': 'constant', 'threshold': 0.3},
    'label': {'type': 'constant', 'threshold': 0.3},
}
