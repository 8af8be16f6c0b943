# SSA, SCG, gradient CAMs and InferCam on the trained baseline, without retraining: ResNet50, 300 training images,
# scale 1 and its mirror image, some at four scales. Stages '1', '2', '3' are stages 3, 4, 5 of the SSA paper.
# python tools/run_study.py configs/studies/refinement_r50_small.py --data-root DIR --work-dir DIR --weights FILE
configs = dict(cam='../cam/cam_r50_small.py')
split = 'train'
num_images = 300
seeds = (0, 1, 2)
tests = {'scale 1': {'test_cfg.amp': 'bfloat16'}}
_view = dict(type='MultiScaleFlip', scales=(1.0,), flip=True)
# InferCam as the paper has it; the hooks' defaults are others (infercam_efflite0_small.py).
_as_in_paper, _erase = dict(normalize='patch', include_base=False), dict(normalize='round')
_infer_cam = dict(type='InferCam', split=_as_in_paper, erase=_erase)


def _row(name, *inside, outside=(), seeds=(0,), **options):
    hooks = [*outside, _view, *inside]
    return dict(name=name, config='cam', checkpoint_of='baseline', seeds=seeds,
                test_options={'model.inference_hooks': hooks, **options})


rows = [
    dict(name='baseline', config='cam', test_options={'model.inference_hooks': [_view]}),
    _row('split & unite', outside=[dict(type='SplitUnite', **_as_in_paper)], seeds=(0, 1, 2)),
    _row('iterative', outside=[dict(type='IterativeErase', **_erase)], seeds=(0, 1, 2)),
    _row('InferCam', outside=[_infer_cam], seeds=(0, 1, 2)),
    _row('split & unite, defaults', outside=[dict(type='SplitUnite')], seeds=(0, 1, 2)),
    _row('iterative, defaults', outside=[dict(type='IterativeErase')], seeds=(0, 1, 2)),
    _row('InferCam, defaults', outside=[dict(type='InferCam')], seeds=(0, 1, 2)),
    _row('InferCam, defaults, patches x 0.75', outside=[dict(type='InferCam', split=dict(patch_scale=0.75))],
         seeds=(0, 1, 2)),
    _row('split & unite, strengths kept', outside=[dict(type='SplitUnite', **dict(_as_in_paper, normalize='image'))]),
    _row('InferCam, strengths kept', outside=[dict(_infer_cam, split=dict(_as_in_paper, normalize='image'))]),
    _row('InferCam, two rounds, no overlap', outside=[dict(_infer_cam, split=dict(_as_in_paper, overlap=(0, 0)),
                                         erase=dict(_erase, max_rounds=2))]),
]
for _stages, _name in (('1', '3'), ('2', '4'), ('3', '5'), (('2', '3'), '4+5')):
    for _blocks in (1, 2, 3):
        _three = _blocks == 2 and _name in ('5', '4+5')
        rows.append(_row(f'SSA {_name}, {_blocks} block{"s" * (_blocks > 1)}',
                         dict(type='SSA', stages=_stages, num_blocks=_blocks), seeds=(0, 1, 2) if _three else (0,)))
for _stages, _name in (('2', '4'), (('2', '3'), '4+5')):
    rows += [
        _row(f'SSA {_name}, 1 block, printed', dict(type='SSA', stages=_stages, num_blocks=1, normalize='printed')),
        _row(f'SSA {_name}, 1 block, sum over all', dict(type='SSA', stages=_stages, num_blocks=1, sum='all')),
    ]
_min_max = {'model.test_cfg.normalize': 'min_max'}
rows += [
    _row('SSA 5, 2 blocks, min-max', dict(type='SSA', stages='3', num_blocks=2), **_min_max),
    _row('SSA 4+5, 2 blocks, min-max', dict(type='SSA', stages=('2', '3'), num_blocks=2), **_min_max),
    _row('SSA 4+5, 2 blocks, WSSS', dict(type='SSA', stages=('2', '3'), num_blocks=2, wsss=True)),
    _row('SSA 4+5, 1 block, WSSS', dict(type='SSA', stages=('2', '3'), num_blocks=1, wsss=True)),
    _row('SSA 4+5, 1 block, WSSS, seed normalised',
         dict(type='SSA', stages=('2', '3'), num_blocks=1, wsss=True, normalize_seed=True)),
    _row('SCG 4', dict(type='SCG', stages='2')),
    _row('SCG 4+5', dict(type='SCG', stages=('2', '3'))),
    _row('SSA 4 in InferCam', dict(type='SSA', stages='2', num_blocks=1), outside=[_infer_cam]),
]
for _type in ('GradCAM', 'GradCAMPlusPlus', 'LayerCAM'):
    for _stage, _name in (('3', '5'), ('2', '4')):
        rows.append(_row(f'{_type}, stage {_name}', **{'model.cam_provider': dict(type=_type, stage=_stage)}))
_views = dict(_view, scales=(0.5, 1.0, 1.5, 2.0))
_4_scales = {name: dict(config='cam', checkpoint_of='baseline', seeds=(0,), baseline='baseline, 4 scales',
                        test_options={'model.inference_hooks': hooks}) for name, hooks in {
    'baseline, 4 scales': [_views],
    'InferCam, 4 scales': [_infer_cam, _views],
    'InferCam, defaults, 4 scales': [dict(type='InferCam'), _views],
    'InferCam, fast, 3 scales': [dict(_infer_cam, erase=dict(_erase, max_rounds=3, stop_area=0.02)),
                                 dict(_view, scales=(0.5, 1.0, 1.5))],
    'SSA 5, 2 blocks, 4 scales': [_views, dict(type='SSA', stages='3', num_blocks=2)],
    'SSA 4+5, 2 blocks, 4 scales': [_views, dict(type='SSA', stages=('2', '3'), num_blocks=2)]}.items()}
rows += [dict(name=name, **row) for name, row in _4_scales.items()]
# When does InferCam help? Features twice as fine: the stride is taken out of stage 4 (the same weights, dilated).
_finer = {'model.backbone.strides': (1, 2, 1, 1), 'model.backbone.dilations': (1, 1, 2, 2)}
for _name, _hooks in (('baseline', [_view]), ('InferCam', [_infer_cam, _view]),
                      ('SSA 4+5, 2 blocks', [_view, dict(type='SSA', stages=('2', '3'), num_blocks=2)])):
    rows.append(dict(name=f'{_name}, stride 8', config='cam', checkpoint_of='baseline', seeds=(0,),
                     baseline='baseline, stride 8', test_options={'model.inference_hooks': _hooks, **_finer}))
