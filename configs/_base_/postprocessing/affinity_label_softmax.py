# Labels of confident pixels to train AffinityNet with: two CRFs on scores, with a high and with a low background. The
# exponents are PSA's; SEAM's fork has 24 for the higher one.
# Use: tools/make_pseudo_label.py ... --config configs/_base_/postprocessing/affinity_label_softmax.py
_base_ = './crf_softmax.py'
background = dict(
    _delete_=True,
    type='confident',
    foreground=dict(type='power', alpha=4),
    background=dict(type='power', alpha=32),
    conflict='background')
