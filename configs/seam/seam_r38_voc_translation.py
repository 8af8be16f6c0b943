# Table 3: rescaling and translation by up to 15 pixels.
_base_ = './seam_r38_voc.py'
model = dict(views=[dict(type='TranslateView', max_pixels=15), dict(type='RescaleView', scale=0.3)])
