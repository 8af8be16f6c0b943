# InferCam on photographs of VOC's own size: split & unite, iterative inference and both, with the defaults and with the
# settings of paper and released code, each beside a plain CAM of the same scales. 150 training images; three seeds of
# the plain CAM and of InferCam, of which the README has two.
# python tools/run_study.py configs/studies/infercam_efflite0_500px.py --data-root DIR --work-dir DIR
configs = dict(cam='../cam/cam_efflite0_500px.py')
split = 'train'
num_images = 150
seeds = (0, 1, 2)
tests = {'scale 1': {'test_cfg.amp': 'bfloat16'}}
_view = dict(type='MultiScaleFlip', scales=(1.0,), flip=True)
_two_scales = dict(_view, scales=(1.0, 2.0))
_unmirrored = dict(_view, flip=False)


def _row(name, *hooks, view=_view, **options):
    return dict(dict(name=name, config='cam', checkpoint_of='baseline',
                     test_options={'model.inference_hooks': [*hooks, view]}), **options)


_paper_split, _paper_erase = dict(normalize='patch', include_base=False), dict(normalize='round')
rows = [
    dict(name='baseline', config='cam', test_options={'model.inference_hooks': [_view]}),
    _row('InferCam', dict(type='InferCam')),
    _row('split', dict(type='SplitUnite'), seeds=(0,)),
    _row('split, without base', dict(type='SplitUnite', include_base=False), seeds=(0,)),
    _row('split, patches x 2', dict(type='SplitUnite', patch_scale=2.0), seeds=(0,)),
    _row('erase', dict(type='IterativeErase'), seeds=(0,)),
    _row('erase, by class', dict(type='IterativeErase', erase='class'), seeds=(0,)),
    _row('erase, over its own maximum', dict(type='IterativeErase', **_paper_erase), seeds=(0,)),
    _row('InferCam, the paper to the letter', dict(
        type='InferCam', split=dict(_paper_split, overlap=(0, 0), align=1, min_size=1),
        erase=dict(_paper_erase, accumulate='sum')), seeds=(0,)),
    _row('InferCam, the released code', dict(
        type='InferCam', split=dict(_paper_split, multi_class='none', align=1, min_size=1),
        erase=dict(_paper_erase, stop_area=0.02, mirror_mask=False), reference='patch'), view=_unmirrored, seeds=(0,)),
    _row('baseline, scales 1 and 2', view=_two_scales),
    _row('InferCam, scales 1 and 2', dict(type='InferCam'), view=_two_scales, seeds=(0,),
         baseline='baseline, scales 1 and 2'),
]
