"""The recipes of configs/*_voc.py against what the released codes, or without one the papers, say."""
import pytest
import torch
from mmengine.config import Config

from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig
from mmwsss.experiments.study.study_config import StudyConfig
from mmwsss.models.classifiers.pixel_self_supervision import normalized_cam
from mmwsss.models.losses import scale_attention
from mmwsss.registry import INFERENCE_HOOKS, MODELS

# Config: crop, long side, colours. None: as loaded, no change.
IMAGES = {
    'cam/cam_r38_voc': (448, (448, 768), 'ColorJitter'),
    'cam/cam_r38_voc_psa': (448, (256, 512), 'ColorJitter'),
    'cam/cam_r38_voc_range224': (448, (224, 768), 'ColorJitter'),
    'cam/cam_r50_voc': (512, (320, 640), None),
    'seam/seam_r38_voc': (448, (448, 768), 'ColorJitter'),
    'affinitynet/affinitynet_r38_voc': (448, None, 'ColorJitter'),
    'irnet/irnet_r50_voc': (512, (250, 750), None),
    'rcm_mam/rcm_mam_r38_voc': (192, (250, 650), 'PCALighting'),
    'rcm_mam/rcm_mam_r38_voc_color_jitter': (192, (250, 650), 'ColorJitter'),
    'infercam/infercam_r38_voc': (448, (256, 512), 'ColorJitter'),
    'ssa/ssa_r50_voc': (512, (320, 640), None),
}


@pytest.fixture
def config(repo_root):
    return lambda name: Config.fromfile(repo_root / f'configs/{name}.py')


@pytest.fixture
def pipeline(repo_root):
    return lambda name: PipelineConfig(repo_root / f'configs/pipelines/{name}.py')


@pytest.mark.parametrize('name', IMAGES)
def test_training_images(config, name):
    crop, long_side, colours = IMAGES[name]
    cfg = config(name)
    steps = cfg.train_dataloader.dataset.pipeline
    kinds = [step.type for step in steps]
    assert kinds == [kind for kind, there in (
        ('LoadImage', True), ('LoadMask', 'LoadMask' in kinds), ('RandomResizeLong', long_side), ('RandomFlip', True),
        (colours, colours), ('RandomPlaceCrop', True), ('PackWSSSInputs', True)) if there]
    by_kind = dict(zip(kinds, steps))
    # Smaller images are placed by the preprocessor.
    assert by_kind['RandomPlaceCrop'].crop_size == cfg.model.data_preprocessor.size == (crop, crop)
    assert cfg.model.data_preprocessor.type == 'WSSSDataPreProcessor'
    if long_side:
        resize = by_kind['RandomResizeLong']
        assert (resize.long_side, resize.interpolation, resize.backend) == (long_side, 'bicubic', 'pillow')
    if colours == 'ColorJitter':
        jitter = by_kind[colours]
        assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (0.3, 0.3, 0.3, 0.1)


@pytest.mark.parametrize('name', ['cam/cam_r38_voc', 'cam/cam_r38_voc_psa', 'cam/cam_r50_voc', 'seam/seam_r38_voc',
                                  'rcm_mam/rcm_mam_r38_voc', 'infercam/infercam_r38_voc', 'infercam/infercam_r50_voc',
                                  'infercam/split_patch_r38_voc', 'ssa/ssa_r50_voc'])
def test_views_of_a_test(config, name):
    model = config(name).model
    views, = (hook for hook in model.inference_hooks if hook.type == 'MultiScaleFlip')
    assert sorted(views.scales) == [0.5, 1.0, 1.5, 2.0] and views.flip and views.interpolation == 'bicubic'
    is_seam = name.startswith('seam/')
    assert views.get('align_views', False) == model.test_cfg.get('full_size', False) == is_seam
    assert (views.get('stride', 4) == 1) == is_seam


def test_batches_are_totals_that_the_rate_was_chosen_for(repo_root):
    for path in repo_root.glob('configs/*/*_voc*.py'):
        if path.parent.name in ('pipelines', 'studies', '_base_'):
            continue
        cfg = Config.fromfile(path)
        assert cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size, path
        assert not cfg.auto_scale_lr.enable, path


@pytest.mark.parametrize('name, batch, epochs, lr', [
    ('cam/cam_r38_voc', 8, 8, 0.01), ('cam/cam_r38_voc_psa', 16, 15, 0.1), ('infercam/infercam_r38_voc', 16, 15, 0.1),
    ('infercam/split_patch_r38_voc', 16, 8, 0.01)])
def test_classifier_is_seams_baseline_or_psas(config, name, batch, epochs, lr):
    cfg = config(name)
    optimizer = cfg.optim_wrapper.optimizer
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs, optimizer.lr) == (batch, epochs, lr)
    assert optimizer.weight_decay == optimizer.momentum == 5e-4


def test_classifiers_on_resnet38_have_the_momentum_of_the_released_codes(repo_root):
    """That of PSA and SEAM, 5e-4."""
    found = []
    for path in repo_root.glob('configs/*/*_r38_*.py'):
        cfg = Config.fromfile(path) if path.parent.name not in ('pipelines', 'studies', 'segmentation') else {}
        if 'optim_wrapper' in cfg:
            optimizer = cfg.optim_wrapper.optimizer
            assert optimizer.momentum == optimizer.weight_decay == 5e-4, path
            found.append(path.stem)
    assert {'cam_r38_voc', 'seam_r38_voc', 'affinitynet_r38_voc', 'slam_r38_coco', 'encoder_r38_voc'} < set(found)


@pytest.mark.parametrize('name, classifier', [
    ('affinitynet_r38_voc', 'cam/cam_r38_voc_psa'), ('infercam_r38_voc', 'infercam/infercam_r38_voc'),
    ('seam_r38_voc', 'seam/seam_r38_voc'), ('seam_baseline_r38_voc', 'cam/cam_r38_voc'),
    ('rcm_mam_r38_voc', 'rcm_mam/rcm_mam_r38_voc'), ('slams_r38_voc', 'slams/slam_r38_voc'),
    ('affinitynet_r38_coco', 'cam/cam_r38_coco'), ('slams_r38_coco', 'slams/slam_r38_coco')])
def test_pipelines_with_affinitynet_have_the_classifier_of_their_paper(pipeline, name, classifier):
    assert pipeline(name).configs['cam'].endswith(f'/configs/{classifier}.py')


def test_classifiers_that_slams_start_from(pipeline):
    assert pipeline('slams_r38_voc').configs['start'].endswith('/cam/cam_r38_voc.py')
    assert pipeline('slams_r38_coco').configs['start'].endswith('/cam/cam_r38_coco.py')


def test_only_cams_of_voc_have_figures_with_crf(pipeline):
    for name in ('affinitynet_r38', 'slams_r38'):
        voc, coco = (pipeline(f'{name}_{data}').stages['eval_cam'] for data in ('voc', 'coco'))
        assert voc.details and coco.details and len(voc.postprocessors) == 1 and not coco.postprocessors


@pytest.mark.parametrize('name, low, high, walk, steps, lr', [
    ('affinitynet_r38_voc', 4, 32, 16, 256, 0.1), ('rcm_mam_r38_voc', 4, 32, 16, 256, 0.1),
    ('infercam_r38_voc', 4, 32, 16, 256, 0.1), ('seam_r38_voc', 4, 24, 6, 64, 0.01),
    ('seam_baseline_r38_voc', 4, 24, 6, 64, 0.01)])
def test_affinitynet_is_psas_or_that_of_seams_fork(config, pipeline, name, low, high, walk, steps, lr):
    pipe = pipeline(name)
    background = pipe.stages['affinity_label'].background
    assert (background['foreground']['alpha'], background['background']['alpha']) == (low, high)
    cfg = config('affinitynet/affinitynet_r38_voc')
    cfg.merge_from_dict(pipe.cfg_options.get('affinity', {}))
    assert (cfg.model.test_cfg.alpha, cfg.model.random_walk.steps) == (walk, steps)
    assert cfg.optim_wrapper.optimizer.lr == lr


def test_baseline_of_table_7_differs_from_seam_in_its_cam_alone(pipeline):
    seam, baseline = pipeline('seam_r38_voc'), pipeline('seam_baseline_r38_voc')
    assert seam.stages == baseline.stages
    # Those for `cam` say that it is tested as SEAM is.
    assert baseline.cfg_options == dict(seam.cfg_options, cam=baseline.cfg_options['cam'])
    assert {name for name in seam.configs if seam.configs[name] != baseline.configs[name]} == {'cam'}


def test_irnet_of_ssa_learns_longer(pipeline):
    assert pipeline('ssa_r50_voc').cfg_options['irnet'] == {'train_cfg.max_epochs': 5}
    assert 'irnet' not in pipeline('irnet_r50_voc').cfg_options


def test_segmentor_of_infercam_is_deeplab_v2_with_saliency(config, pipeline):
    assert pipeline('infercam_r38_voc').configs['segmentor'].endswith('/deeplab_v2_r101_voc_saliency.py')
    plain, saliency = (config(f'segmentation/deeplab_v2_r101_voc{end}') for end in ('', '_saliency'))
    assert saliency.model.decode_head.type == plain.model.decode_head.type == 'DeepLabV2Head'
    loss = MODELS.build(saliency.model.decode_head.loss_decode)
    assert (type(loss).__name__, loss.alpha, loss.present_only, loss.per_image, loss.soft, loss.loss_weight) == (
        'SaliencyConflictLoss', 0.08, False, True, True, 1.0)  # eq. 4, as it is printed
    assert saliency.train_dataloader.dataset.require_saliency
    assert 'LoadSaliency' in [step.type for step in saliency.train_dataloader.dataset.pipeline]


@pytest.mark.parametrize('name', ['cam/cam_r50_voc', 'ssa/ssa_r50_voc', 'infercam/infercam_r50_voc'])
def test_resnet50_of_irnet(config, name):
    """Torchvision's style; BatchNorm's statistics are fixed, scale and shift trained in layers 3 and 4, with decay."""
    cfg = config(name)
    backbone, images = cfg.model.backbone, cfg.model.data_preprocessor
    assert images.bgr_to_rgb and images.std == [58.395, 57.12, 57.375]
    with torch.device('meta'):
        model = MODELS.build(dict(backbone, init_cfg=None))
    model.train()
    assert model.layer3[0].conv2.stride == (2, 2) and model.layer3[0].conv1.stride == (1, 1)
    trained = {key.split('.')[0] for key, p in model.named_parameters() if p.requires_grad}
    assert trained == {'layer3', 'layer4'}
    assert all(p.requires_grad for key, p in model.named_parameters() if key.startswith(('layer3', 'layer4')))
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 53 and not any(norm.training for norm in norms)
    paramwise = cfg.optim_wrapper.paramwise_cfg
    assert (paramwise.bias_mult, paramwise.bias_decay_mult) == (1, 1) and 'new_weight_mult' not in paramwise


def test_er_of_the_study_is_normalised_as_its_baseline(config):
    study = config('studies/seam_r50_small')
    baseline = config('cam/cam_r50_small').model.test_cfg.get('normalize', 'max')
    rows = [row for row in study.rows if 'ER' in row.name]
    assert len(rows) == 2 and all(row.test_options['model.test_cfg.normalize'] == baseline for row in rows)


@pytest.mark.parametrize('dropout', [None, 'main_net.backbone.dropout_b6', 'main_net.backbone.dropout_b7',
                                     'main_net.cam_head.dropout_ratio'])
def test_networks_of_the_same_weights_have_an_attention_of_one(config, dropout):
    """MainNet in training, SupportNet not; each dropout of PSA's classifier, which is left out, makes it more."""
    cfg = config('rcm_mam/rcm_mam_r38_voc')
    options = {'main_net.backbone.base_channels': 2, 'main_net.neck.in_channels': 128, 'rcm.num_classes': 4,
               'main_net.cam_head.num_classes': 4, **({dropout: 0.5} if dropout else {})}
    cfg.merge_from_dict({f'model.{name}': value for name, value in options.items()})
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    view = torch.randn(2, 3, 32, 32)
    cams = [normalized_cam(net.forward_maps(view)[0], (32, 32)) for net in (model.main_net, model.support_net)]
    attention = scale_attention(cams[0][None], cams[1][None])[0, 0]
    shown = torch.stack([cam.flatten(2).amax(dim=2) > 0 for cam in cams]).all(dim=0)
    assert shown.any()
    assert attention[shown].mean() > 1.01 if dropout else attention[shown].max() < 1.0001


@pytest.mark.parametrize('name', ['infercam_r38_voc', 'infercam_r50_voc', 'split_patch_r38_voc'])
def test_inference_of_infercam_is_the_papers(config, name):
    """Not the hook's defaults: every patch and round has a maximum of 1, and the first CAM only tells the centres."""
    hook = INFERENCE_HOOKS.build(config(f'infercam/{name}').model.inference_hooks[0])
    split, erase = hook.split, hook.erase
    assert (split.normalize, split.include_base, split.multi_class) == ('patch', False, 'separate')
    assert split.overlap == (10, 20)
    assert (split.align, split.min_size, split.patch_scale, split.base_scale) == (1, 1, 1, 1)
    assert (erase.normalize, erase.accumulate, erase.threshold, erase.erase) == ('round', 'max', 0.7, 'any')
    assert (erase.stop_area, erase.max_rounds, erase.fill, hook.reference) == (0.01, 5, 'image_mean', 'image')


def test_labels_of_infercam_have_a_crf_after_the_walk(pipeline):
    stages = pipeline('infercam_r38_voc').stages
    names = list(stages)
    assert names.index('walk') < names.index('label') < names.index('eval_label') < names.index('segmentor')
    assert stages['label'].postprocessors[0]['type'] == 'DenseCRF' and stages['label'].split == 'train_aug'
    assert stages['segmentor'].inputs['labels'] == 'label' and stages['eval_label'].split == 'train'


def test_rows_of_seams_tables_are_tested_alike(repo_root, config, pipeline, generated_root):
    """How maps are resized and normalised is no part of what a table compares."""
    study = StudyConfig(repo_root / 'configs/studies/seam_r38_voc.py', generated_root)
    seam = config('seam/seam_r38_voc').model
    for row in study.rows.values():
        for test in row.tests:
            model = study.test_config(row, 0, test).model
            views, = model.inference_hooks
            scales = (0.5, 1.0, 1.5, 2.0) if test == '4 scales' else (float(test.removeprefix('scale ')),)
            assert tuple(views.scales) == scales
            assert dict(views, scales=None) == dict(seam.inference_hooks[0], scales=None), row.name
            assert model.test_cfg == seam.test_cfg, row.name
    baseline = pipeline('seam_baseline_r38_voc').cfg_options['cam']
    assert baseline['model.inference_hooks'] == seam.inference_hooks
    assert {name: baseline[f'model.test_cfg.{name}'] for name in ('normalize', 'full_size')} == {
        name: seam.test_cfg[name] for name in ('normalize', 'full_size')}


@pytest.mark.parametrize('name', ['seam_r38_voc', 'rcm_mam_r38_voc', 'ssa_r50_voc', 'infercam_r38_voc'])
def test_views_of_the_papers_tables(repo_root, generated_root, name):
    """Bicubic, as in the released codes, in every row."""
    study = StudyConfig(repo_root / f'configs/studies/{name}.py', generated_root)
    for row in study.rows.values():
        for test in row.tests:
            hooks = study.test_config(row, 0, test).model.inference_hooks
            views, = [hook for hook in hooks if hook.type == 'MultiScaleFlip']
            assert (views.interpolation, views.flip) == ('bicubic', True), row.name


def test_tables_have_the_papers_columns(repo_root, generated_root):
    seam, rcm = (StudyConfig(repo_root / f'configs/studies/{name}_r38_voc.py', generated_root)
                 for name in ('seam', 'rcm_mam'))
    assert [row.name for row in seam.rows.values() if row.crf] == ['T1 baseline', 'T1 + ER + PCM + OHEM = SEAM']
    assert all(row.crf == 'softmax' for row in rcm.rows.values() if row.name.startswith('T1'))
    for study in (seam, rcm):
        table5 = [row for row in study.rows.values() if row.name.startswith('T5')]
        assert len(table5) == 2 and all(row.over_tests and len(row.tests) == 4 for row in table5)
