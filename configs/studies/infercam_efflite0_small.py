# What of InferCam gains and what loses, one switch at a time, on one trained classifier: EfficientNet-Lite0, 150
# training images, scale 1 and its mirror image; at the end, four scales.
# python tools/run_study.py configs/studies/infercam_efflite0_small.py --data-root DIR --work-dir DIR
configs = dict(cam='../cam/cam_efflite0_small.py')
split = 'train'
num_images = 150
tests = {'scale 1': {'test_cfg.amp': 'bfloat16'}}
_view = dict(type='MultiScaleFlip', scales=(1.0,), flip=True)


def _row(name, *hooks, view=_view):
    return dict(name=name, config='cam', checkpoint_of='baseline',
                test_options={'model.inference_hooks': [*hooks, view]})


# The first reading, of which the rows are changes: the paper's, which is not the default.
_SPLIT, _ERASE = dict(normalize='patch', include_base=False), dict(normalize='round')


def _split_unite(**options):
    return dict(type='SplitUnite', **{**_SPLIT, **options})


def _iterative(**options):
    return dict(type='IterativeErase', **{**_ERASE, **options})


def _both(split=None, erase=None, **options):
    return dict(type='InferCam', split={**_SPLIT, **(split or {})}, erase={**_ERASE, **(erase or {})}, **options)


_unmirrored = dict(_view, flip=False)
_paper = dict(overlap=(0, 0), align=1, min_size=1)
rows = [
    dict(name='baseline', config='cam', test_options={'model.inference_hooks': [_view]}),
    _row('split', _split_unite()),
    _row('split, patches x 2', _split_unite(patch_scale=2.0)),
    _row('split, strengths kept', _split_unite(normalize='image')),
    _row('split, patches x 2, strengths kept', _split_unite(patch_scale=2.0, normalize='image')),
    _row('split, least strength .3', _split_unite(min_strength=0.3)),
    _row('split, base included', _split_unite(include_base=True)),
    _row('split, patches x 2, strengths kept, base',
         _split_unite(patch_scale=2.0, normalize='image', include_base=True)),
    _row('erase', _iterative()),
    _row('erase, by class', _iterative(erase='class')),
    _row('erase, over first round', _iterative(normalize='first')),
    _row('erase, by class, over first round', _iterative(erase='class', normalize='first')),
    _row('erase, least strength .3', _iterative(min_strength=0.3)),
    _row('erase, mask not mirrored', _iterative(mirror_mask=False), view=_unmirrored),
    _row('erase, sum', _iterative(accumulate='sum')),
    _row('erase, sum, over first round', _iterative(accumulate='sum', normalize='first')),
    _row('InferCam, first reading', _both()),
    _row('InferCam, defaults', dict(type='InferCam')),
    _row('InferCam, patches x 2, strengths kept, by class, first round', _both(
        dict(patch_scale=2.0, normalize='image'), dict(erase='class', normalize='first'))),
    _row('InferCam, the same, base included', _both(
        dict(patch_scale=2.0, normalize='image', include_base=True), dict(erase='class', normalize='first'))),
    _row('InferCam, the paper to the letter', _both(_paper, dict(accumulate='sum'))),
    _row('InferCam, the released code', _both(
        dict(multi_class='none', align=1, min_size=1), dict(stop_area=0.02, mirror_mask=False), reference='patch'),
         view=_unmirrored),
    # Enlarged patches are another scale, too: what that alone gives.
    _row('baseline, scale 2', view=dict(_view, scales=(2.0,))),
    _row('baseline, scales 1 and 2', view=dict(_view, scales=(1.0, 2.0))),
    _row('InferCam, patches x 2, strengths kept, base, first round', _both(
        dict(patch_scale=2.0, normalize='image', include_base=True), dict(normalize='first'))),
]
_all_scales = dict(_view, scales=(0.5, 1.0, 1.5, 2.0))
_kept = dict(normalize='image', include_base=True)
_three_scales = dict(_view, scales=(0.5, 1.0, 1.5))
rows += [
    _row('baseline, 4 scales', view=_all_scales),
    _row('baseline, 3 scales', view=_three_scales),
    *(dict(_row(f'{_name}, 4 scales', _hook, view=_all_scales), baseline='baseline, 4 scales') for _name, _hook in (
        ('split, strengths kept, base', _split_unite(**_kept)),
        ('erase, over first round', _iterative(normalize='first')),
        ('InferCam, defaults', dict(type='InferCam')))),
    # infercam_fast_efflite0_small.py
    dict(_row('InferCam, fast, 3 scales', dict(type='InferCam', erase=dict(max_rounds=3, stop_area=0.02)),
              view=_three_scales), baseline='baseline, 3 scales'),
]
