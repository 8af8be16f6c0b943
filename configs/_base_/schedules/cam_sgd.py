# SGD for CAM classifiers; new layers learn ten times as fast, biases twice, without decay. The small momentum is not
# an oversight: the optimizer of PSA, SEAM and IRNet hands weight_decay to SGD in momentum's place, so the published
# numbers were trained with momentum 5e-4 or 1e-4; their 0.9 is the power of the poly schedule.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=1e-4, weight_decay=1e-4),
    constructor='WSSSOptimWrapperConstructor',
    paramwise_cfg=dict())
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5)
