# A head of our own, and at inference a CAM provider inside of two hooks, outermost first.
_base_ = '../../../configs/cam/cam_efflite0_small.py'
custom_imports = dict(imports=['mmwsss', 'my_method'], allow_failed_imports=False)
model = dict(
    cam_head=dict(type='LSECAMHead', r=4.0),
    cam_provider=dict(type='FeatureWeightedCAM'),
    inference_hooks=[dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=False), dict(type='MirrorMax')])
