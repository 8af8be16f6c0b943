# SLAMs -> AffinityNet -> DeepLabV1 on VOC, all with ResNet38: the semantic encoder is trained first, then the
# activation network that it judges. The paper's text does not say what comes after its maps; AffinityNet is what most
# methods of its time use.
_base_ = './affinitynet_r38_voc.py'
configs = dict(encoder='../slams/encoder_r38_voc.py', cam='../slams/slam_r38_voc.py')
stages = dict(
    encoder=dict(type='train', config='encoder', split='train_aug', before='classifier'),
    classifier=dict(inputs=dict(encoder='encoder')))
