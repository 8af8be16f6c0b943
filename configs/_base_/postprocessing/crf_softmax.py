# Dense CRF as in AffinityNet and SEAM: the negative log of the scores is the unary.
# Use: tools/make_pseudo_label.py ... --config configs/_base_/postprocessing/crf_softmax.py
background = dict(type='power', alpha=8)  # mmwsss/postprocessing/defaults.py says why
postprocessors = [
    dict(
        type='DenseCRF',
        unary='softmax',
        iterations=10,
        gaussian_sxy=3,
        gaussian_compat=3,
        bilateral_sxy=80,
        bilateral_srgb=13,
        bilateral_compat=10)
]
