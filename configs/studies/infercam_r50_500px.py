# infercam_efflite0_500px.py with a ResNet50 that is trained as the papers train: crops of 448, 15 epochs. In bfloat16,
# which halves the time on processors that compute in it.
# python tools/run_study.py configs/studies/infercam_r50_500px.py --data-root DIR --work-dir DIR --weights FILE
_base_ = './infercam_efflite0_500px.py'
configs = dict(cam='../cam/cam_r50_500px.py')
cfg_options = {'optim_wrapper.type': 'AutocastOptimWrapper'}
