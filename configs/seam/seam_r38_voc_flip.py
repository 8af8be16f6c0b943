# Table 3: rescaling and flip.
_base_ = './seam_r38_voc.py'
model = dict(views=[dict(type='RescaleView', scale=0.3), dict(type='FlipView', prob=0.5)])
