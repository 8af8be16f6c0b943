# The baseline with the saliency-conflict loss in its segmentor; needs Saliency/<stem>.png of the training images
# (tools/make_saliency.py). All stages up to the segmentor are those of cam_r50_small.py: in the same work folder they
# are done already.
_base_ = './cam_r50_small.py'
configs = dict(segmentor='../segmentation/deeplab_r50_small_saliency.py')
