# InferCam -> AffinityNet -> DeepLab with the saliency-conflict loss on EfficientNet-Lite0. Needs Saliency/<stem>.png
# of the training images (tools/make_saliency.py). The hook's defaults keep the first CAM and its strengths, so the
# backgrounds are those of affinitynet_small.py.
_base_ = './affinitynet_small.py'
configs = dict(cam='../infercam/infercam_fast_efflite0_small.py',
               segmentor='../segmentation/deeplab_efflite0_small_saliency.py')
