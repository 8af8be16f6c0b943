# SLAMs -> CRF -> DeepLab on EfficientNet-Lite0: a CAM classifier is trained first, then the semantic encoder, which
# starts from its backbone, then the activation network, which starts from the classifier and learns from the encoder.
_base_ = './cam_small_without_crf.py'
configs = dict(start='../cam/cam_efflite0_small.py', encoder='../slams/encoder_efflite0_small.py',
               cam='../slams/slam_efflite0_small.py')
stages = dict(
    start=dict(type='train', config='start', split='train', before='classifier'),
    encoder=dict(type='train', config='encoder', split='train', inputs=dict(start='start'), before='classifier'),
    classifier=dict(inputs=dict(encoder='encoder', start='start')),
    # The best on the training images of voc8, at four scales.
    label=dict(background=dict(threshold=0.32), postprocessors=[
        dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)]),
    picture_train=dict(inputs=dict(pseudo_label=None, with_CRF='label')))
