# deeplab_largefov_r38_voc.py on COCO: crop 481, 100k iterations.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/coco_seg.py', '../_base_/pipelines/seg_481.py',
          '../_base_/models/deeplab_largefov_resnet38.py', '../_base_/schedules/seg_poly_iters.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
train_cfg = dict(max_iters=100000)
# The CRF of AffinityNet and SEAM, a single iteration as in the code that SEAM's segmentor is tested with.
test_postprocessors = [
    dict(type='DenseCRF', unary='softmax', iterations=1, gaussian_sxy=3, gaussian_compat=3, bilateral_sxy=80,
         bilateral_srgb=13, bilateral_compat=10, labels='leading'),
]
