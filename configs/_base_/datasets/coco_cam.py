# Images of COCO's size (long side 640) with image-level labels, in VOC layout (`mmwsss convert coco`), see voc_cam.py.
_base_ = './voc_cam.py'
data_root = 'data/COCO2014'
train_dataloader = dict(dataset=dict(data_root=data_root, split='train'))
test_dataloader = dict(dataset=dict(data_root=data_root))
