# LayerCAM of the last stage, on the checkpoint of ../cam/cam_r50_small.py.
_base_ = '../cam/cam_r50_small.py'
model = dict(cam_provider=dict(type='LayerCAM', stage='3'))
