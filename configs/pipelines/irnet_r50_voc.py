# CAM, IRNet, DeepLabV2 on VOC: trained on the pseudo labels of train_aug (10,582 images), evaluated on train (1,464 of
# them) and val. Its backbones differ: --weights cam=resnet50.pth irnet=resnet50.pth; MMEngine downloads the
# segmentor's, docs/voc.md says from where. The segmentor is SSA's; that of IRNet's own figures is a ResNet50.
_base_ = './_base_/irnet.py'
configs = dict(cam='../cam/cam_r50_voc.py', irnet='../irnet/irnet_r50_voc.py',
               segmentor='../segmentation/deeplab_v2_r101_voc.py')
_aug = dict(split='train_aug')
_crf = dict(type='DenseCRF', unary='label', gt_prob=0.7, bilateral_sxy=50, bilateral_srgb=5)
stages = dict(classifier=_aug, cam=_aug, eval_cam=dict(details=True, postprocessors=[_crf]), irnet_label=_aug,
              irnet=_aug, irnet_walk=_aug, irnet_crf=_aug,
              irnet_segmentor=_aug, eval_irnet_segmentor=dict(tta=True))
