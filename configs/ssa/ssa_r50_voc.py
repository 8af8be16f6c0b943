# SSA's recipe for segmentation on VOC (section 4.2): IRNet's ResNet50 classifier, but 10 epochs; two self-affinity
# blocks and cross guidance. The paper does not give the scales: they are IRNet's.
_base_ = '../cam/cam_r50_voc.py'
model = dict(test_cfg=dict(normalize='min_max'), inference_hooks=[
    dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic'),
    dict(type='SSA', stages=('2', '3'), num_blocks=2, wsss=True)])
train_cfg = dict(max_epochs=10)
