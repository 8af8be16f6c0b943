# What the paper of RCM and MAM leaves open, one row a reading, each a setting over rcm_mam_efflite0_small.py or its
# ablation: the targets of MMM, the sum over the classes in RCM, the optimizer, and two printed forms.
# python tools/run_study.py configs/studies/rcm_mam_readings_efflite0_small.py --data-root DIR --work-dir DIR
_stem = '../rcm_mam/rcm_mam_efflite0_small'
configs = dict(baseline=f'{_stem}_baseline.py', rcm_mam=f'{_stem}.py', rcm=f'{_stem}_rcm.py', mmm=f'{_stem}_mmm.py')
split = 'train'
seeds = (0,)
tests = {'scale 1': {'model.inference_hooks.0.scales': (1.0,), 'test_cfg.amp': 'bfloat16'}}
rows = [
    dict(name='RCM + MAM', config='rcm_mam'),
    dict(name='baseline', config='baseline'),
    # SupportNet's mean over the scales as it is (eq. 7 without attention), or divided by its maximum.
    dict(name='MMM', config='mmm', baseline='MMM'),
    dict(name='MMM, mean', config='mmm', baseline='MMM', cfg_options={'model.mam.renormalize': False}),
    # "We sum the contrastive losses for all classes": a mean over the pixels of each class, then the sum.
    dict(name='RCM', config='rcm', baseline='RCM'),
    dict(name='RCM, sum over classes', config='rcm', baseline='RCM',
         cfg_options={'model.rcm.normalize': 'class_sum'}),
    dict(name='sum over classes', config='rcm_mam', cfg_options={'model.rcm.normalize': 'class_sum'}),
    # Neither ten times the rate for new layers nor weight decay is in the paper.
    dict(name='one learning rate', config='rcm_mam', cfg_options={
        'optim_wrapper.paramwise_cfg': dict(bias_mult=1, new_weight_mult=1, new_bias_mult=1)}),
    dict(name='no weight decay', config='rcm_mam', cfg_options={'optim_wrapper.optimizer.weight_decay': 0.0}),
    dict(name='dropout before the CAM head', config='rcm_mam', cfg_options={
        'model.main_net.cam_head.dropout_ratio': 0.5}),
    dict(name='gradient through xi', config='rcm_mam', cfg_options={'model.mam.detach_attention': False}),
]
