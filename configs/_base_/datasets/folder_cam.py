# A folder of images (long side about 256) with a file of image-level labels:
#   data_root/images/**      the images, in sub folders or not; no two of one name
#   data_root/labels.csv     image,class;class
#   data_root/classes.txt    the foreground classes, one a line
#   data_root/masks/*.png    only for tests, where there are some
_base_ = './voc_cam.py'
data_root = 'data'
img_dir = 'images'
# None: all images. A split is the path of a .txt list of images, below data_root or not.
folder = dict(type='ImageLabelDataset', data_root=data_root, img_dir=img_dir, label_file='labels.csv', split=None,
              mask_dir='masks')
train_dataloader = dict(num_workers=2, dataset=folder)
test_dataloader = dict(num_workers=1, dataset=folder)
test_cfg = dict(max_side=512)
