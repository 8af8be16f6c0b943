import importlib.util
import json
import shutil
from types import SimpleNamespace

import pytest

from mmwsss.apis.evaluation import evaluate_label_dir
from mmwsss.apis.runner import train
from mmwsss.config.config import load_config
from mmwsss.datasets import DataFolder
from mmwsss.experiments.pipeline.stages import STAGES, on_main_process, picture
from mmwsss.models.segmentors import MultiViewSegmentor
from mmwsss.utils.errors import UserError


@pytest.fixture
def pipeline(generated_root):
    return SimpleNamespace(data_root=generated_root, data=DataFolder.find(generated_root),
                           classes=(generated_root / 'classes.txt').read_text().split())


def test_picture_is_of_images_that_have_everything(pipeline, generated_root, tmp_path):
    labels = tmp_path / 'labels'
    labels.mkdir()
    with pytest.raises(UserError, match='none of the images'):
        picture(folder=tmp_path / 'out', pipeline=pipeline, split='val', pseudo_label=str(labels))
    shutil.copy(generated_root / 'SegmentationClass/val_00000.png', labels)
    result = picture(folder=tmp_path / 'out', pipeline=pipeline, split='val', pseudo_label=str(labels))
    assert result.output == str(tmp_path / 'out/val.png') and (tmp_path / 'out/val.png').is_file()


def test_errors_of_the_main_process_come_out(tmp_path):
    def fail(**kwargs):
        raise UserError(f'no {kwargs["folder"]}')
    with pytest.raises(UserError, match='no there'):
        on_main_process(fail)(folder='there')


def test_stages_are_documented():
    assert all(function.__doc__ for function in STAGES.values())


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
    cfg.tta_pipeline[2].transforms[0] = [dict(type='ScaleImage', factor=factor) for factor in (0.5, 1.0)]
    cfg.dump(folder / 'seg.py')

    def load_stage_config(name, cfg_options=None):
        return load_config(folder / f'{name}.py', generated_root, cfg_options)

    checkpoint = train(load_stage_config('seg'), folder / 'work').checkpoint
    return load_stage_config, str(checkpoint)


@pytest.mark.skipif(importlib.util.find_spec('pydensecrf') is None, reason='pydensecrf is not installed')
def test_segmentor_with_views_and_crf(segmentor, pipeline, generated_root, tmp_path, monkeypatch):
    views = []

    def test_step(self, data, test_step=MultiViewSegmentor.test_step):
        views.append(len(data['inputs']))
        return test_step(self, data)

    monkeypatch.setattr(MultiViewSegmentor, 'test_step', test_step)
    pipeline.load_stage_config, checkpoint = segmentor
    pipeline.launcher = 'none'
    options = dict(pipeline=pipeline, config='seg', checkpoint=checkpoint, split='val', num_workers=1)
    crf = [dict(type='DenseCRF', iterations=2, scale_factor=8)]
    plain = STAGES['test'](folder=tmp_path / 'plain', **options)
    refined = STAGES['test'](folder=tmp_path / 'refined', tta=True, postprocessors=crf, **options)
    assert [(row['metric'], row['note']) for row in plain.metrics] == [('mIoU', 'val')]
    assert [row['note'] for row in refined.metrics] == ['val, DenseCRF', 'val, before DenseCRF']
    written = evaluate_label_dir(refined.output, generated_root, 'val', num_workers=0)
    assert refined.metrics[0]['value'] == pytest.approx(100 * written['mIoU'])
    metrics = json.loads((tmp_path / 'refined/metrics.json').read_text())
    assert metrics['per_class'] == written['per_class'] and metrics['refined/mIoU'] == refined.metrics[0]['value']
    assert refined.metrics[1]['value'] > 0 and views == [4] * 4  # two scales and flips of four images
    of_config = STAGES['test'](folder=tmp_path / 'config', tta=True, postprocessors=None,
                               cfg_options={'test_postprocessors': crf}, **options)
    assert of_config.metrics == refined.metrics
    with pytest.raises(UserError, match='has no test_postprocessors'):
        STAGES['test'](folder=tmp_path / 'none', postprocessors=None, cfg_options={'test_postprocessors': []},
                       **options)


@pytest.mark.skipif(importlib.util.find_spec('pydensecrf') is None, reason='pydensecrf is not installed')
def test_segmentor_on_images_without_masks(segmentor, generated_copy, pipeline, tmp_path):
    load, checkpoint = segmentor
    shutil.rmtree(generated_copy / 'SegmentationClass')
    pipeline.launcher, pipeline.data_root, pipeline.data = 'none', generated_copy, DataFolder.find(generated_copy)

    def load_stage_config(name, cfg_options=None):
        cfg = load(name, cfg_options)
        cfg.test_dataloader.dataset.data_root = str(generated_copy)
        return cfg

    pipeline.load_stage_config = load_stage_config
    result = STAGES['test'](folder=tmp_path / 'test', pipeline=pipeline, config='seg', checkpoint=checkpoint,
                            split='val', tta=True, postprocessors=[dict(type='DenseCRF', iterations=1)], num_workers=0)
    row, = result.metrics
    assert row['value'] is None and 'skipped' in row['note']
    assert 'per_class' not in json.loads((tmp_path / 'test/metrics.json').read_text())
    assert len(list((tmp_path / 'test/predictions').glob('*.png'))) == 4


def test_batch_of_one_image(segmentor, tmp_path):
    """The image pooling of ASPP has a BatchNorm, whose batch would be a single value."""
    load_stage_config, _ = segmentor
    with pytest.raises(UserError, match=r'a batch of one image.*train_dataloader\.batch_size=2'):
        train(load_stage_config('seg', {'train_dataloader.batch_size': 1}), tmp_path)
