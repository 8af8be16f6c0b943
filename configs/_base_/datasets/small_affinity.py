# The same for small images (long side about 256).
_base_ = './voc_affinity.py'
crop_size = (224, 224)
train_dataloader = dict(num_workers=2, dataset=dict(split='train'))
test_dataloader = dict(num_workers=1)
