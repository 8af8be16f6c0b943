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


_infer_cam = dict(type='InferCam')
rows = [
    *(dict(row, seeds=_base_.seeds) for row in _base_.rows),
    *(row for scales, name in (((0.5, 1.0), 'scales 0.5 and 1'), ((0.75, 1.0), 'scales 0.75 and 1'),
                               ((0.5, 1.0, 1.5, 2.0), '4 scales'))
      for row in (_row(f'baseline, {name}', scales=scales),
                  _row(f'InferCam, {name}', _infer_cam, scales=scales, baseline=f'baseline, {name}'))),
    *(_row(f'baseline, scale {scale:g}', scales=(scale,), seeds=(1,)) for scale in (0.5, 0.75)),
    # Patches of another scale are to be seen beside a plain CAM of both scales.
    *(_row(f'split, patches x {scale:g}', dict(type='SplitUnite', patch_scale=scale), seeds=(1,), **other)
      for scale, other in ((0.5, dict(baseline='baseline, scales 0.5 and 1')),
                           (0.75, dict(baseline='baseline, scales 0.75 and 1')), (1.5, {}))),
    _row('InferCam, patches x 0.75', dict(_infer_cam, split=dict(patch_scale=0.75)),
         baseline='baseline, scales 0.75 and 1'),
    *(_row(f'split, overlap {overlap}', dict(type='SplitUnite', overlap=(overlap, overlap)), seeds=(1,))
      for overlap in (40, 80)),
    *(_row(f'split, over its own maximum, least strength {strength:g}',
           dict(type='SplitUnite', normalize='patch', min_strength=strength), seeds=(1,)) for strength in (0.25, 0.5)),
    *(_row(f'erase, from {threshold:g}', dict(type='IterativeErase', threshold=threshold), seeds=(1,))
      for threshold in (0.2, 0.3, 0.5)),
    _row('erase, from 0.3, by class', dict(type='IterativeErase', threshold=0.3, erase='class'), seeds=(1,)),
    _row('erase, from 0.3, sum', dict(type='IterativeErase', threshold=0.3, accumulate='sum'), seeds=(1,)),
    _row('erase, over its own maximum, least strength 0.5',
         dict(type='IterativeErase', normalize='round', min_strength=0.5), seeds=(1,)),
]
