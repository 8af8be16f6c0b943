# A folder of images (long side about 256), see folder_cam.py, with a folder of label maps.
_base_ = './small_seg.py'
data_root = 'data'
img_dir = 'images'
# Images without a pseudo label were left out by an earlier stage.
train_dataloader = dict(dataset=dict(data_root=data_root, img_dir=img_dir, recursive=True, split=None,
                                     seg_dir='labels', missing_mask='skip'))
# Ground truth, for some images or for all. Name a split of images that the classifier was not trained on.
test_dataloader = dict(dataset=dict(data_root=data_root, img_dir=img_dir, recursive=True, split=None,
                                    seg_dir='masks', missing_mask='skip'))
