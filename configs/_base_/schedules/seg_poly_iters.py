# SGD for segmentors on pseudo labels by iterations, poly schedule. As in the released codes, new layers learn ten times
# as fast, biases twice (new ones 20 times), without decay.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=5e-4),
    constructor='WSSSOptimWrapperConstructor',
    paramwise_cfg=dict())
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, by_epoch=False)]
train_cfg = dict(type='IterLimitedTrainLoop', max_iters=20000)
