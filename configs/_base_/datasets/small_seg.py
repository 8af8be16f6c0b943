# Small images (long side about 256) with masks, in VOC layout.
_base_ = './voc_seg.py'
train_dataloader = dict(batch_size=16, num_workers=2, dataset=dict(split='train'))
auto_scale_lr = dict(base_batch_size=16)
test_dataloader = dict(num_workers=1)
# Half of VOC's size: half of its distances.
test_postprocessors = [
    dict(type='DenseCRF', unary='softmax', iterations=10, gaussian_sxy=1, gaussian_compat=3, bilateral_sxy=67,
         bilateral_srgb=3, bilateral_compat=4, scale_factor=2),
]
