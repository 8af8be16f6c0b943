# The baseline of SEAM's Table 7: a plain CAM, and everything after it as in seam_r38_voc.py.
_base_ = './seam_r38_voc.py'
configs = dict(cam='../cam/cam_r38_voc.py')
