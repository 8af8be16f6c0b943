# The saliency-conflict loss against cross entropy with the same pseudo labels: weights, temperature, the pixels that
# labels ignore, and saliency as background of the labels; with bounds from above (ground truth as saliency) and below
# (the saliency of other images). Segmentors on EfficientNet-Lite0, evaluated on val. README.md has the commands that
# make the folders, which stand behind the names of configs:
# python tools/run_study.py configs/studies/saliency_conflict_efflite0_small.py --data-root DIR --work-dir DIR \
#     --cfg-options cfg_options.train_dataloader.dataset.seg_dir=LABELS \
#     cfg_options.confident.train_dataloader.dataset.seg_dir=CONFIDENT \
#     cfg_options.confident_plain.train_dataloader.dataset.seg_dir=CONFIDENT \
#     cfg_options.rough.train_dataloader.dataset.seg_dir=WITHOUT_CRF \
#     cfg_options.rough_plain.train_dataloader.dataset.seg_dir=WITHOUT_CRF \
#     cfg_options.background.train_dataloader.dataset.seg_dir=SALIENCY_LABELS \
#     cfg_options.truth.train_dataloader.dataset.saliency_dir=BOUNDS/SaliencyTruth \
#     cfg_options.shuffled.train_dataloader.dataset.saliency_dir=BOUNDS/SaliencyShuffled
_plain, _saliency = ('../segmentation/deeplab_efflite0_small.py', '../segmentation/deeplab_efflite0_small_saliency.py')
configs = dict(plain=_plain, background=_plain, saliency=_saliency, truth=_saliency, shuffled=_saliency,
               confident=_saliency, confident_plain=_plain, rough=_saliency, rough_plain=_plain,
               v2_plain='../segmentation/deeplab_v2_efflite0_small.py',
               v2_saliency='../segmentation/deeplab_v2_efflite0_small_saliency.py')
split = 'val'
seeds = (0, 1, 2)
cfg_options = {'train_dataloader.dataset.missing_mask': 'skip'}


def _row(name, config='saliency', **options):
    if options:
        # The paper's, and what differs.
        options = dict(dict(alpha=0.08, present_only=False, per_class=False, normalize=False, loss_weight=1.0),
                       **options)
    return dict(name=name, config=config, cfg_options={f'model.decode_head.loss_decode.{key}': value
                                                       for key, value in options.items()})


# Overturns labels, see README.md of ../segmentation.
_overturns = dict(alpha=6.0, present_only=True, loss_weight=0.2)
# The same, where classes that are seldom salient are kept: the setting of the configs.
_by_class, _of_the_configs = (dict(alpha=6.0, present_only=True, per_class=True, normalize=True),
                              'alpha 6, classes of the label, tau by class, normalized')
rows = [
    _row('cross entropy', 'plain'),
    *(_row(f'alpha {alpha:g}', alpha=alpha) for alpha in (0.08, 0.4, 1.2, 3.0)),
    # Saliency decides between the background and the classes of the label, and raises no others.
    *(_row(f'alpha {alpha:g}, classes of the label', alpha=alpha, present_only=True) for alpha in (0.4, 1.2, 2.0)),
    # At a large alpha the loss is several times as large, which the learning rate does not bear.
    _row('alpha 6, a fifth of the loss', alpha=6.0, loss_weight=0.2),
    _row('alpha 6, classes of the label, a fifth of the loss', **_overturns),
    _row('alpha 6, classes of the label, a fifth of the loss, one tau for the batch', **_overturns, per_image=False),
    # Classes that saliency misses are lost to the background at such weights. Each has its own temperature, and all
    # pixels count alike.
    _row('alpha 6, classes of the label, tau by class, a fifth of the loss', **_overturns, per_class=True),
    _row('alpha 3, classes of the label, tau by class, a third of the loss', alpha=3.0, loss_weight=0.33,
         present_only=True, per_class=True),
    _row(_of_the_configs, **_by_class),
    _row('alpha 6, classes of the label, normalized', alpha=6.0, present_only=True, normalize=True),
    _row('confident labels, cross entropy', 'confident_plain'),
    _row('confident labels, alpha 6, classes of the label, a fifth of the loss', 'confident', **_overturns),
    _row('confident labels, the same on ignored pixels', 'confident', **_overturns, on_ignored=True),
    _row(f'confident labels, {_of_the_configs}, on ignored pixels', 'confident', **_by_class, on_ignored=True),
    # Where the outlines of the labels are those of the CAM, saliency has more to tell.
    _row('labels without CRF, cross entropy', 'rough_plain'),
    _row('labels without CRF, alpha 1.2', 'rough', alpha=1.2),
    _row('labels without CRF, alpha 6, classes of the label, a fifth of the loss', 'rough', **_overturns),
    _row('DeepLabV2 head, cross entropy', 'v2_plain'),
    _row('DeepLabV2 head, alpha 0.08', 'v2_saliency', alpha=0.08),
    _row('DeepLabV2 head, alpha 6, classes of the label, a fifth of the loss', 'v2_saliency', **_overturns),
    _row(f'DeepLabV2 head, {_of_the_configs}', 'v2_saliency', **_by_class),
    *(_row(f'ground truth as saliency, alpha {alpha:g}', 'truth', alpha=alpha) for alpha in (0.08, 1.2, 3.0)),
    _row('ground truth as saliency, alpha 6, a fifth of the loss', 'truth', alpha=6.0, loss_weight=0.2),
    _row('ground truth as saliency, alpha 6, classes of the label, a fifth of the loss', 'truth', **_overturns),
    _row(f'ground truth as saliency, {_of_the_configs}', 'truth', **_by_class),
    *(_row(f'shuffled saliency, alpha {alpha:g}', 'shuffled', alpha=alpha) for alpha in (0.08, 1.2)),
    _row('shuffled saliency, alpha 6, classes of the label, a fifth of the loss', 'shuffled', **_overturns),
    _row(f'shuffled saliency, {_of_the_configs}', 'shuffled', **_by_class),
    _row('saliency as background of the labels, cross entropy', 'background'),
]
