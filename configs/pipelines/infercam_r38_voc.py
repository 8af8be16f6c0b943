# InferCam -> AffinityNet -> DeepLab-ASPP (ResNet101) with the saliency-conflict loss on VOC. Needs Saliency/<stem>.png
# of the training images (tools/make_saliency.py).
_base_ = './affinitynet_r38_voc.py'
configs = dict(cam='../infercam/infercam_r38_voc.py', segmentor='../segmentation/deeplab_aspp_r101_voc_saliency.py')
# The final CRF of the segmentor's own config, which is DeepLabV2's and not that of the ResNet38 configs.
options = dict(eval_segmentor=dict(postprocessors=[
    dict(type='DenseCRF', unary='softmax', iterations=10, gaussian_sxy=1, gaussian_compat=3, bilateral_sxy=67,
         bilateral_srgb=3, bilateral_compat=4)]))
