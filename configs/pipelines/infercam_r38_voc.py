# InferCam -> AffinityNet -> DeepLabV2 (ResNet101) with the saliency-conflict loss on VOC. Needs Saliency/<stem>.png of
# the training images (tools/make_saliency.py). The paper takes AffinityNet's released classifier: ../infercam/README.md
# has the command.
_base_ = './affinitynet_r38_voc.py'
configs = dict(cam='../infercam/infercam_r38_voc.py', segmentor='../segmentation/deeplab_v2_r101_voc_saliency.py')
