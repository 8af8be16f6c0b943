# CAM, AffinityNet, DeepLab on COCO 2014 with ResNet38: trained on train (82,783 images), evaluated on train and val
# (40,504). The folder is what `mmwsss convert coco` makes. Not measured yet.
_base_ = './affinitynet_r38_voc.py'
configs = dict(cam='../cam/cam_r38_coco.py', affinity='../affinitynet/affinitynet_r38_coco.py',
               segmentor='../segmentation/deeplab_v1_r38_coco.py')
_train = dict(split='train')
stages = dict(classifier=_train, cam=_train, eval_cam=dict(postprocessors=[]),  # CRFs of all of train: hours
              affinity_label=_train, affinity=_train, walk=_train, segmentor=_train)
