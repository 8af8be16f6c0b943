# Table 3: rescaling and rotation by -20 to 20 degrees.
_base_ = './seam_r38_voc.py'
model = dict(views=[dict(type='RotateView', max_degrees=20), dict(type='RescaleView', scale=0.3)])
