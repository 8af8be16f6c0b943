# InferCam's Table 2 on VOC: split & unite, iterative inference, both, on one trained classifier, evaluated on train;
# then both with the sum over the rounds and the exact split lines that the paper's text has, with all settings of the
# released code (but for its defects), and with the hook's defaults, which were chosen on small photographs.
# The column "1 / 2 / 3+ classes" is Table 3; what Fig. 2 says (the share of the objects' pixels where the CAM of
# their class is above 0: 84 %) is `foreground_recall` at threshold 0 of `curve` in the report.json of T2 baseline.
# python tools/run_study.py configs/studies/infercam_r38_voc.py --data-root VOC --work-dir DIR --weights resnet38.pth
configs = dict(cam='../cam/cam_r38_voc_psa.py')  # the paper's classifier is AffinityNet's
split = 'train'
_views = dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic')
_patches, _rounds = dict(normalize='patch', include_base=False, align=1, min_size=1), dict(normalize='round')
_hooks = {
    'T2 split & unite': dict(type='SplitUnite', **_patches),
    'T2 iterative': dict(type='IterativeErase', **_rounds),
    'T2 both = InferCam': dict(type='InferCam', split=_patches, erase=_rounds),
    'InferCam, sum over the rounds, no overlap': dict(
        type='InferCam', split=dict(_patches, overlap=(0, 0)), erase=dict(_rounds, accumulate='sum')),
    'InferCam, the released code': dict(
        type='InferCam', split=dict(_patches, multi_class='none'), erase=dict(_rounds, stop_area=0.02),
        reference='patch'),
    "InferCam, the hook's defaults": dict(type='InferCam'),
}
rows = [dict(name='T2 baseline', config='cam', test_options={'model.inference_hooks': [_views]})]
rows += [dict(name=_name, config='cam', checkpoint_of='T2 baseline',
              test_options={'model.inference_hooks': [_hook, _views]})
         for _name, _hook in _hooks.items()]
