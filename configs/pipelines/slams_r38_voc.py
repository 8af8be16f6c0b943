# SLAMs -> AffinityNet -> DeepLabV1 on VOC, all with ResNet38: affinitynet_r38_voc.py with SLAMs' activation network,
# which starts from a CAM classifier and is trained with a semantic encoder. The paper's text does not say what
# comes after its maps; AffinityNet is what most methods of its time use. Not measured.
_base_ = './affinitynet_r38_voc.py'
configs = dict(start='../cam/cam_r38_voc.py', encoder='../slams/encoder_r38_voc.py', cam='../slams/slam_r38_voc.py')
stages = dict(
    start=dict(type='train', config='start', split='train_aug', before='classifier'),
    encoder=dict(type='train', config='encoder', split='train_aug', before='classifier'),
    classifier=dict(inputs=dict(encoder='encoder', start='start')))
