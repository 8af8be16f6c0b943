# SLAMs -> CRF -> DeepLab on generated scenes.
_base_ = './slams_small.py'
configs = dict(start='../cam/cam_efflite0_generated.py', encoder='../slams/encoder_efflite0_generated.py',
               cam='../slams/slam_efflite0_generated.py', segmentor='../segmentation/deeplab_efflite0_generated.py')
