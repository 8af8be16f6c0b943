# Images of COCO's size (long side 640) with masks, in VOC layout: the user's folder with its classes.txt of 80 names,
# JPEGImages, SegmentationClass and ImageSets/{train,val}.txt.
_base_ = './voc_seg.py'
data_root = 'data/COCO2014'
crop_size = (481, 481)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomResizeLong', long_side=(320, 960)),  # 0.5 to 1.5 x
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(dataset=dict(data_root=data_root, split='train', pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(data_root=data_root))
# Only labels that lead somewhere compete: with all 81 the CRF takes eight times as long.
test_postprocessors = [
    dict(type='DenseCRF', unary='softmax', iterations=10, gaussian_sxy=1, gaussian_compat=3, bilateral_sxy=67,
         bilateral_srgb=3, bilateral_compat=4, labels='leading'),
]
