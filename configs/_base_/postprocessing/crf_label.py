# Dense CRF as in IRNet: the labels (argmax of the scores) are the unary, trusted with gt_prob.
# Use: tools/make_pseudo_label.py ... --config configs/_base_/postprocessing/crf_label.py
background = dict(type='constant', threshold=0.2)  # mmwsss/postprocessing/defaults.py says why
postprocessors = [
    dict(
        type='DenseCRF',
        unary='label',
        gt_prob=0.7,
        iterations=10,
        gaussian_sxy=3,
        gaussian_compat=3,
        bilateral_sxy=50,
        bilateral_srgb=5,
        bilateral_compat=10)
]
