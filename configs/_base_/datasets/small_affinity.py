# Images of long side about 256, see voc_affinity.py.
_base_ = './voc_affinity.py'
train_dataloader = dict(num_workers=2, dataset=dict(split='train'))
test_dataloader = dict(num_workers=1)
test_cfg = dict(max_side=512)
