# SLAMs -> CRF -> DeepLab on EfficientNet-Lite0: the semantic encoder is trained first, then the activation network that
# it evaluates.
_base_ = './cam_small_without_crf.py'
configs = dict(encoder='../slams/encoder_efflite0_small.py', cam='../slams/slam_efflite0_small.py')
stages = dict(
    encoder=dict(type='train', config='encoder', split='train', before='classifier'),
    classifier=dict(inputs=dict(encoder='encoder')),
    # The best threshold of the training images of voc8.
    label=dict(background=dict(threshold=0.61), postprocessors=[
        dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)]),
    picture_train=dict(inputs=dict(pseudo_label=None, with_CRF='label')))
