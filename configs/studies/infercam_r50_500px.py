# infercam_efflite0_500px.py with a ResNet50 that is trained as the papers train: crops of 448, 15 epochs. In bfloat16,
# which halves the time on processors that compute in it. Three seeds of every row; then what else may gain with maps
# that are narrow: smaller patches, more overlap, a lower threshold of erasing, each with one seed.
# python tools/run_study.py configs/studies/infercam_r50_500px.py --data-root DIR --work-dir DIR --weights FILE
_base_ = './infercam_efflite0_500px.py'
configs = dict(cam='../cam/cam_r50_500px.py')
cfg_options = {'optim_wrapper.type': 'AutocastOptimWrapper'}


def _row(name, *hooks, scales=(1.0,), **options):
    view = dict(type='MultiScaleFlip', scales=scales, flip=True)
    return dict(dict(name=name, config='cam', checkpoint_of='baseline',
                     test_options={'model.inference_hooks': [*hooks, view]}), **options)


def _split(name, **options):
    return _row(f'split, {name}', dict(type='SplitUnite', **options), seeds=(1,))


def _erase(name, **options):
    return _row(f'erase, {name}', dict(type='IterativeErase', **options), seeds=(1,))


rows = [dict(row, seeds=_base_.seeds) for row in _base_.rows]
for _scales, _name in (((0.5, 1.0), 'scales 0.5 and 1'), ((0.75, 1.0), 'scales 0.75 and 1'),
                       ((0.5, 1.0, 1.5, 2.0), '4 scales')):
    rows += [_row(f'baseline, {_name}', scales=_scales),
             _row(f'InferCam, {_name}', dict(type='InferCam'), scales=_scales, baseline=f'baseline, {_name}')]
rows += [
    _row('baseline, scale 0.5', scales=(0.5,), seeds=(1,)),
    _row('baseline, scale 0.75', scales=(0.75,), seeds=(1,)),
    # Smaller patches are to be seen beside a plain CAM of both scales.
    dict(_split('patches x 0.5', patch_scale=0.5), baseline='baseline, scales 0.5 and 1'),
    dict(_split('patches x 0.75', patch_scale=0.75), baseline='baseline, scales 0.75 and 1'),
    _split('patches x 1.5', patch_scale=1.5),
    _row('InferCam, patches x 0.75', dict(type='InferCam', split=dict(patch_scale=0.75)),
         baseline='baseline, scales 0.75 and 1'),
    _split('overlap 40', overlap=(40, 40)),
    _split('overlap 80', overlap=(80, 80)),
    _split('over its own maximum, least strength 0.25', normalize='patch', min_strength=0.25),
    _split('over its own maximum, least strength 0.5', normalize='patch', min_strength=0.5),
    _erase('from 0.2', threshold=0.2),
    _erase('from 0.3', threshold=0.3),
    _erase('from 0.5', threshold=0.5),
    _erase('from 0.3, by class', threshold=0.3, erase='class'),
    _erase('from 0.3, sum', threshold=0.3, accumulate='sum'),
    _erase('over its own maximum, least strength 0.5', normalize='round', min_strength=0.5),
]
