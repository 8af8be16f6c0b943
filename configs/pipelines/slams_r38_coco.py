# slams_r38_voc.py on COCO in VOC layout (tools/dataset_converters): the splits train and val, DeepLab's recipe for
# COCO. Not measured.
_base_ = './slams_r38_voc.py'
configs = dict(segmentor='../segmentation/deeplab_v1_r38_coco.py')
_train = dict(split='train')
stages = dict(start=_train, encoder=_train, classifier=_train, cam=_train, affinity_label=_train, affinity=_train,
              walk=_train, segmentor=_train)
