# Table 4: rescaling by 0.5.
_base_ = './seam_r38_voc.py'
model = dict(views=[dict(type='RescaleView', scale=0.5)])
