# The ablation of SEAM's Table 1: EfficientNet-Lite0, one seed, judged on 300 training images.
# python tools/run_study.py configs/studies/seam_ablation_efflite0_small.py --data-root DIR --work-dir DIR
configs = dict(cam='../cam/cam_efflite0_small.py', seam='../seam/seam_efflite0_small.py',
               er='../seam/seam_efflite0_small_er.py', pcm='../seam/seam_efflite0_small_pcm.py')
split = 'train'
num_images = 300
tests = {
    'scale 1': {'model.inference_hooks.0.scales': (1.0,), 'test_cfg.amp': 'bfloat16'},
    '4 scales': {'test_cfg.amp': 'bfloat16'},
}
rows = [
    dict(name='baseline', config='cam'),
    dict(name='+ ER', config='er'),
    dict(name='+ PCM', config='pcm'),
    dict(name='+ OHEM', config='seam'),
]
