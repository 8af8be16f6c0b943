# affinitynet_r38_voc.py on COCO 2014: 2 epochs, twice the iterations of VOC. A choice of this project.
_base_ = './affinitynet_r38_voc.py'
data_root = 'data/COCO2014'
train_dataloader = dict(dataset=dict(data_root=data_root, split='train'))
test_dataloader = dict(dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=2)
