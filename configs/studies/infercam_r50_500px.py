# infercam_efflite0_500px.py with a ResNet50 that is trained as the papers train: crops of 448, 15 epochs. In bfloat16,
# which halves the time on processors that compute in it. Three seeds of every row.
# python tools/run_study.py configs/studies/infercam_r50_500px.py --data-root DIR --work-dir DIR --weights FILE
_base_ = './infercam_efflite0_500px.py'
configs = dict(cam='../cam/cam_r50_500px.py')
cfg_options = {'optim_wrapper.type': 'AutocastOptimWrapper'}
_views = [dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True)]
_4_scales = {'baseline, 4 scales': _views, 'InferCam, 4 scales': [dict(type='InferCam'), *_views]}
rows = [*(dict(row, seeds=_base_.seeds) for row in _base_.rows), *(
    dict(name=name, config='cam', checkpoint_of='baseline', baseline='baseline, 4 scales',
         test_options={'model.inference_hooks': hooks}) for name, hooks in _4_scales.items())]
