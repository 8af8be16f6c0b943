# SEAM against its baseline with three seeds, and the ablation of its Table 1 with one: ResNet50, evaluated on all
# training images.
# python tools/run_study.py configs/studies/seam_r50_small.py --data-root DIR --work-dir DIR --weights resnet50.pth
configs = dict(cam='../cam/cam_r50_small.py', seam='../seam/seam_r50_small.py')
split = 'train'
seeds = (0, 1, 2)
tests = {
    'scale 1': {'model.inference_hooks.0.scales': (1.0,), 'test_cfg.amp': 'bfloat16'},
    '4 scales': {'test_cfg.amp': 'bfloat16'},
}
# Normalised as the baseline's: the row is to show ER alone.
_before_pcm = {'model.predict_revised': False, 'model.test_cfg.normalize': 'max'}
_rate_05 = {'model.views': [dict(type='RescaleView', scale=0.5)]}
rows = [
    dict(name='baseline', config='cam', tests=['scale 1']),
    # PCM is cut off from the rest of the network: what SEAM's maps are before PCM is what ER alone trains.
    dict(name='+ ER (before PCM)', config='seam', checkpoint_of='+ OHEM = SEAM', tests=['scale 1'],
         test_options=_before_pcm),
    dict(name='+ PCM', config='seam', seeds=(0,), tests=['scale 1'], cfg_options={'model.loss_ecr.hard_ratio': 1.0}),
    dict(name='+ OHEM = SEAM', config='seam', tests=['scale 1']),
    dict(name='rate 0.5, + ER (before PCM)', config='seam', seeds=(0,), tests=['scale 1'], cfg_options=_rate_05,
         checkpoint_of='rate 0.5, SEAM', test_options=_before_pcm),
    dict(name='rate 0.5, SEAM', config='seam', seeds=(0,), tests=['scale 1'], cfg_options=_rate_05),
    dict(name='baseline, 4 scales', config='cam', checkpoint_of='baseline', tests=['4 scales']),
    dict(name='SEAM, 4 scales', config='seam', checkpoint_of='+ OHEM = SEAM', tests=['4 scales'],
         baseline='baseline, 4 scales'),
]
