# Labels of confident pixels to train IRNet with: two CRFs on hard labels, with a high and with a low background.
# Use: tools/make_pseudo_label.py ... --config configs/_base_/postprocessing/affinity_label_hard.py
_base_ = './crf_label.py'
background = dict(
    _delete_=True,
    type='confident',
    foreground=dict(type='constant', threshold=0.3),
    background=dict(type='constant', threshold=0.05),
    conflict='class')
