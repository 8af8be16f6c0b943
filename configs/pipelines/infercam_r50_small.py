# InferCam -> AffinityNet -> DeepLab with the saliency-conflict loss, small. Needs Saliency/<stem>.png of the training
# images (tools/make_saliency.py). The hook's defaults keep the first CAM and its strengths, so the backgrounds are
# those of affinitynet_r50_small.py.
_base_ = './affinitynet_r50_small.py'
configs = dict(cam='../infercam/infercam_fast_r50_small.py', segmentor='../segmentation/deeplab_r50_small_saliency.py')
