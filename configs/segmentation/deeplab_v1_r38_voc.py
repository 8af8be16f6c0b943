# The recipe known to give SEAM's number: lr 0.001 (new layers 0.01), momentum 0.9, decay 5e-4, crop 448, 0.5 to 1.5 x,
# batch 10, 20k iterations. Test with --tta --crf.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_seg.py', '../_base_/pipelines/seg_448.py',
          '../_base_/models/deeplab_v1_resnet38.py', '../_base_/schedules/seg_poly_iters.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
# The CRF of AffinityNet and SEAM, a single iteration as in the code that SEAM's segmentor is tested with.
test_postprocessors = [
    dict(type='DenseCRF', unary='softmax', iterations=1, gaussian_sxy=3, gaussian_compat=3, bilateral_sxy=80,
         bilateral_srgb=13, bilateral_compat=10),
]
