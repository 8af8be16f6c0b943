# The tables of RCM and MAM on VOC: 1, 2 and 5, and the thresholds of Fig. 7, evaluated on train. The figures of single
# images (Fig. 4; of the CAMs, without CRF) are in per_image.csv of the stage eval_cam of a pipeline, whose config `cam`
# is one of these: ../pipelines/rcm_mam_r38_voc.py --cfg-options configs.cam=...
# python tools/run_study.py configs/studies/rcm_mam_r38_voc.py --data-root VOC --work-dir DIR --weights resnet38.pth
_stem = '../rcm_mam/rcm_mam_r38_voc'
configs = {name: f'{_stem}{suffix}.py' for name, suffix in (
    ('baseline', '_baseline'), ('smm', '_smm'), ('mmm', '_mmm'), ('mam', '_mam'), ('rcm', '_rcm'),
    ('rcm_mmm', '_rcm_mmm'), ('direct', '_rcm_direct'), ('shared', '_rcm_shared'), ('rcm_mam', ''))}
split = 'train'
tests = {'4 scales': {}, **{f'scale {scale:g}': {'model.inference_hooks.0.scales': (scale,)}
                            for scale in (0.5, 1.0, 1.5, 2.0)}}
_all = ['4 scales']
rows = [dict(name=f'T1 {_name}', config=_config, tests=_all, crf='softmax') for _name, _config in (
    ('baseline', 'baseline'), ('SMM', 'smm'), ('MMM', 'mmm'), ('MAM', 'mam'), ('RCM', 'rcm'),
    ('RCM + MMM', 'rcm_mmm'), ('RCM + MAM', 'rcm_mam'))]
# Table 2: the rows that Table 1 has not. Precision and recall are columns of every row.
rows += [dict(name='T2 direct, EMA', config='direct', tests=_all),
         dict(name='T2 contrastive, shared weights', config='shared', tests=_all)]
# Table 5, with mean and deviation over the scales.
_scales = [name for name in tests if name != '4 scales']
rows += [dict(name='T5 baseline', config='baseline', checkpoint_of='T1 baseline', tests=_scales,
              over_tests=True, baseline='T5 baseline'),
         dict(name='T5 RCM + MAM', config='rcm_mam', checkpoint_of='T1 RCM + MAM', tests=_scales,
              over_tests=True, baseline='T5 baseline')]
# Fig. 7: the threshold of RCM's class regions; 0.2 is T1 RCM. The paper has no such table of alpha, the weight of the
# moving average: cfg_options {'model.momentum': 1 - alpha}.
rows += [dict(name=f'Fig. 7 RCM, threshold {_value:g}', config='rcm', tests=_all,
              cfg_options={'model.rcm.threshold': _value}) for _value in (0.1, 0.15, 0.25, 0.3, 0.4)]
