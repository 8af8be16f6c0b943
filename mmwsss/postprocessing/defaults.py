"""Default backgrounds of ``mmwsss label``, for users without masks.

The best background threshold of a CAM method is read off a threshold curve, which needs ground-truth masks
("oracle"). A user without masks has no curve, so one number has to do. It can, because the maps of a
:class:`~mmwsss.structures.cam_file.CAMFile` are in [0, 1] per class and image: a threshold means the same
fraction of the highest activation on every image. Still, the best value moves with method and data; who has
masks for a few images should look at ``mmwsss eval``.

The numbers come from the CAMs of configs/cam/cam_r50_small.py (four scales, seed 0) on every fourth training image of
voc8, 295 photographs of VOC at 256 pixels, mIoU in percent:

- without CRF, constant .15 / .18 / .20 / .25 / .30: 49.5 / 49.8 / 49.8 / 48.9 / 47.0;
- CRF on hard labels, constant .10 / .15 / .20 / .25 / .30: 51.0 / 53.1 / 52.4 / 50.4 / 46.9;
- CRF on scores, constant .05 / .10 / .15 / .20 / .30: 40.8 / 48.5 / 48.1 / 45.5 / 35.5,
  power alpha 4 / 8 / 16: 46.6 / 51.6 / 50.7.

To change a default, change it here and in ``configs/_base_/postprocessing/`` (a test compares them).
"""

# Without CRF.
DEFAULT_BACKGROUND = {'type': 'constant', 'threshold': 0.2}

# With CRF, by the kind of its unary. They need not equal the one without: as a softmax unary the background's
# score is its probability everywhere and so pulls at every pixel, while a hard-label unary knows only which score
# is the highest.
DEFAULT_CRF_BACKGROUND = {
    'softmax': {'type': 'power', 'alpha': 8},
    'label': {'type': 'constant', 'threshold': 0.2},
}
DEFAULT_CRF_UNARY = 'label'
