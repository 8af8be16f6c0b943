# SEAM's tables of CAMs on VOC: 1 to 5, evaluated on train. The segmentors (Tables 6 and 7) are those of the stage
# eval_segmentor of ../pipelines/seam_r38_voc.py and seam_baseline_r38_voc.py.
# python tools/run_study.py configs/studies/seam_r38_voc.py --data-root VOC --work-dir DIR --weights resnet38.pth
_seam = '../seam/seam_r38_voc'
configs = dict(cam='../cam/cam_r38_voc.py', range224='../cam/cam_r38_voc_range224.py', er=f'{_seam}_er.py',
               pcm=f'{_seam}_pcm.py', seam=f'{_seam}.py', flip=f'{_seam}_flip.py', rotation=f'{_seam}_rotation.py',
               translation=f'{_seam}_translation.py', rate05=f'{_seam}_rate05.py')
split = 'train'
# Every row is tested as SEAM is, the plain CAMs too: how maps are resized and normalised is no part of a method.
_views = dict(type='MultiScaleFlip', flip=True, stride=1, interpolation='bicubic', align_views=True)
_scales = (0.5, 1.0, 1.5, 2.0)
tests = {_name: {'model.inference_hooks': [dict(_views, scales=_chosen)],
                 'model.test_cfg.normalize': 'min_max', 'model.test_cfg.full_size': True}
         for _name, _chosen in (('4 scales', _scales), *((f'scale {_scale:g}', (_scale,)) for _scale in _scales))}
_all = ['4 scales']
rows = [
    dict(name='T1 baseline', config='cam', tests=_all, crf='softmax'),
    dict(name='T1 + ER', config='er', tests=_all),
    dict(name='T1 + ER + PCM', config='pcm', tests=_all),
    dict(name='T1 + ER + PCM + OHEM = SEAM', config='seam', tests=_all, crf='softmax'),
]
# Table 2: gradients of the baseline's classifier at the last feature map; CAM and SEAM are rows of Table 1.
rows += [dict(name=f'T2 {_type}', config='cam', checkpoint_of='T1 baseline', tests=_all,
              test_options={'model.cam_provider': dict(type=_type, stage='conv6')})
         for _type in ('GradCAM', 'GradCAMPlusPlus')]
# Table 3: SEAM's rescaling alone is T1 + ER + PCM + OHEM.
rows += [dict(name=f'T3 rescale + {_name}', config=_name, tests=_all) for _name in ('flip', 'rotation', 'translation')]
rows += [dict(name='T4 baseline, long side 224-768', config='range224', tests=_all),
         dict(name='T4 SEAM, rate 0.5', config='rate05', tests=_all)]
# Table 5: single scales; all four are rows of Table 1.
_single = [_name for _name in tests if _name != '4 scales']
rows += [dict(name='T5 baseline', config='cam', checkpoint_of='T1 baseline', tests=_single, over_tests=True,
              baseline='T5 baseline'),
         dict(name='T5 SEAM', config='seam', checkpoint_of='T1 + ER + PCM + OHEM = SEAM', tests=_single,
              over_tests=True, baseline='T5 baseline')]
