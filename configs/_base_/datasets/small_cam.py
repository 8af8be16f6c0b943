# Small images (long side about 256) with image-level labels, in VOC layout: what two cores can train on.
_base_ = './voc_cam.py'
train_dataloader = dict(num_workers=2, dataset=dict(split='train'))
test_dataloader = dict(num_workers=1)
test_cfg = dict(max_side=512)
