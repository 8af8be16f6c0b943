_base_ = '../../../configs/cam/cam_efflite0_small.py'
custom_imports = dict(imports=['mmwsss', 'lse_pool'], allow_failed_imports=False)
model = dict(cam_head=dict(type='LSECAMHead', r=4.0))
