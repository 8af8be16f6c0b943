# The baseline with the saliency-conflict loss in its segmentor; needs Saliency/<stem>.png of the training images
# (tools/make_saliency.py). All stages up to the segmentor are those of cam_small.py: in the same work folder they are
# done already.
_base_ = './cam_small.py'
configs = dict(segmentor='../segmentation/deeplab_efflite0_small_saliency.py')
