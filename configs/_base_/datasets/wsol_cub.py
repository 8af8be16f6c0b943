# CUB-200-2011 as it is distributed: images to 256 x 256, crops of 224 in training (SSA, section 4.1).
_base_ = './wsol_small.py'
data_root = 'data/CUB_200_2011'
auto_scale_lr = dict(base_batch_size=32, enable=False)
train_dataloader = dict(batch_size=32, num_workers=4, dataset=dict(type='CUBDataset', data_root=data_root))
test_dataloader = dict(batch_size=32, num_workers=4,
                       dataset=dict(type='CUBDataset', data_root=data_root, split='test', require_boxes=True))
