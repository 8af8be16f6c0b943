# InferCam's Table 2 on VOC: split & unite, iterative inference, both, on one trained classifier, evaluated on train.
# The column "1 / 2 / 3+ classes" is Table 3; what Fig. 2 says (the share of the objects' pixels where the CAM of
# their class is above 0: 84 %) is `foreground_recall` at threshold 0 of `curve` in the report.json of T2 baseline.
# python tools/run_study.py configs/studies/infercam_r38_voc.py --data-root VOC --work-dir DIR --weights resnet38.pth
configs = dict(cam='../cam/cam_r38_voc.py')
split = 'train'
_views = dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True)
rows = [dict(name='T2 baseline', config='cam', test_options={'model.inference_hooks': [_views]})]
rows += [dict(name=f'T2 {_name}', config='cam', checkpoint_of='T2 baseline',
              test_options={'model.inference_hooks': [dict(type=_type), _views]})
         for _name, _type in (('split & unite', 'SplitUnite'), ('iterative', 'IterativeErase'),
                              ('both = InferCam', 'InferCam'))]
