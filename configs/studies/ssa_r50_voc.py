# SSA on VOC: sets of stages and numbers of self-affinity blocks (what Tables 1 and 2 of the paper vary on
# CUB-200-2011), on one trained classifier, evaluated on train. Stages '1', '2', '3' are stages 3, 4, 5 of the paper.
# python tools/run_study.py configs/studies/ssa_r50_voc.py --data-root VOC --work-dir DIR --weights resnet50.pth
configs = dict(ssa='../ssa/ssa_r50_voc.py')
split = 'train'
_views = dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0), flip=True, interpolation='bicubic')
rows = [dict(name='CAM', config='ssa', test_options={'model.inference_hooks': [_views]})]
for _stages, _name in ((('1',), '3'), (('2',), '4'), (('3',), '5'), (('1', '2'), '3+4'), (('1', '3'), '3+5'),
                       (('2', '3'), '4+5'), (('1', '2', '3'), '3+4+5')):
    rows += [dict(name=f'SSA {_name}, {_blocks} block{"s" * (_blocks > 1)}', config='ssa', checkpoint_of='CAM',
                  test_options={'model.inference_hooks': [
                      _views, dict(type='SSA', stages=_stages, num_blocks=_blocks)]})
             for _blocks in ((1, 2, 3) if _name == '4+5' else (2,))]
rows.append(dict(name='SSA 4+5, 2 blocks, cross guidance', config='ssa', checkpoint_of='CAM'))
