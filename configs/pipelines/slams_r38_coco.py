# affinitynet_r38_coco.py with SLAMs' activation network, as in slams_r38_voc.py. Not measured.
_base_ = './affinitynet_r38_coco.py'
configs = dict(start='../cam/cam_r38_coco.py', encoder='../slams/encoder_r38_coco.py', cam='../slams/slam_r38_coco.py')
stages = dict(
    start=dict(type='train', config='start', split='train', before='classifier'),
    encoder=dict(type='train', config='encoder', split='train', before='classifier'),
    classifier=dict(inputs=dict(encoder='encoder', start='start')))
