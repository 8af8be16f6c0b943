# SPA's optimizer (new layers ten times as fast, biases twice) with a poly schedule.
max_epochs = 100
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=5e-4, nesterov=True),
    constructor='WSSSOptimWrapperConstructor',
    paramwise_cfg=dict())
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, by_epoch=True,
                        convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
