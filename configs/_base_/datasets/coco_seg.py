# Images of COCO's size (long side 640) with masks, in VOC layout: the user's folder with its classes.txt of 80 names,
# JPEGImages, SegmentationClass and ImageSets/{train,val}.txt.
_base_ = './voc_seg.py'
data_root = 'data/COCO2014'
train_dataloader = dict(dataset=dict(data_root=data_root, split='train'))
test_dataloader = dict(dataset=dict(data_root=data_root))
# Only labels that lead somewhere compete: with all 81 the CRF takes eight times as long.
test_postprocessors = [
    dict(type='DenseCRF', unary='softmax', iterations=10, gaussian_sxy=1, gaussian_compat=3, bilateral_sxy=67,
         bilateral_srgb=3, bilateral_compat=4, labels='leading'),
]
