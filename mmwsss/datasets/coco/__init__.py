"""COCO annotations: image-level labels, masks, and a data set in VOC layout."""
