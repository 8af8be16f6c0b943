# RCM and MAM against their baseline with three seeds, and the ablations of Tables 1 and 2 with one; all rows with the
# same network, crop and epochs, evaluated on all training images with mirror images; the rows "other scales": Table 5.
# python tools/run_study.py configs/studies/rcm_mam_efflite0_small.py --data-root DIR --work-dir DIR
_stem = '../rcm_mam/rcm_mam_efflite0_small'
configs = {
    name: f'{_stem}{suffix}.py' for name, suffix in (
        ('baseline', '_baseline'), ('smm', '_smm'), ('mmm', '_mmm'), ('mam', '_mam'), ('direct', '_rcm_direct'),
        ('rcm', '_rcm'), ('rcm_mam', ''))}
split = 'train'
tests = {f'scale {scale:g}': {'model.inference_hooks.0.scales': (scale,), 'test_cfg.amp': 'bfloat16'}
         for scale in (1.0, 0.5, 1.5, 2.0)}
tests['4 scales'] = {'test_cfg.amp': 'bfloat16'}
rows = []
for _name, _key, _three in (('baseline', 'baseline', True), ('SMM', 'smm', False), ('MMM', 'mmm', False),
                            ('MAM', 'mam', False), ('RCM, direct', 'direct', False), ('RCM', 'rcm', False),
                            ('RCM + MAM', 'rcm_mam', True)):
    rows.append(dict(name=_name, config=_key, seeds=(0, 1, 2) if _three else (0,), tests=['scale 1']))
for _name, _key in (('baseline', 'baseline'), ('RCM + MAM', 'rcm_mam')):
    rows.append(dict(name=f'{_name}, other scales', config=_key, checkpoint_of=_name, seeds=(1,),
                     tests=[test for test in tests if test != 'scale 1'], baseline='baseline, other scales'))
