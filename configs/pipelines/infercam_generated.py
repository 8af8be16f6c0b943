# InferCam -> AffinityNet -> DeepLab with the saliency-conflict loss, on generated scenes, which have saliency maps.
_base_ = './affinitynet_generated.py'
configs = dict(cam='../infercam/infercam_efflite0_generated.py',
               segmentor='../segmentation/deeplab_efflite0_generated_saliency.py')
