# ILSVRC CLS-LOC as it is distributed; `val` is what the papers call their test set.
_base_ = './wsol_small.py'
data_root = 'data/ILSVRC'
auto_scale_lr = dict(base_batch_size=64, enable=False)
train_dataloader = dict(batch_size=64, num_workers=8, dataset=dict(type='ILSVRCLocalization', data_root=data_root))
test_dataloader = dict(batch_size=64, num_workers=8,
                       dataset=dict(type='ILSVRCLocalization', data_root=data_root, split='val', require_boxes=True))
