# InferCam -> AffinityNet -> DeepLab-ASPP (ResNet101) with the saliency-conflict loss on VOC. Needs Saliency/<stem>.png
# of the training images (tools/make_saliency.py).
_base_ = './affinitynet_r38_voc.py'
configs = dict(cam='../infercam/infercam_r38_voc.py', segmentor='../segmentation/deeplab_aspp_r101_voc_saliency.py')
