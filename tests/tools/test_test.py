import json
import shutil
import sys

import pytest
import torch
from mmengine.registry import init_default_scope

from mmwsss.apis.evaluation import evaluate_label_dir
from mmwsss.apis.runner import train
from mmwsss.config.config import load_config
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


@pytest.fixture(scope='module')
def tested(tmp_path_factory, repo_root, generated_root, tiny_cam_options):
    """A tiny CAM config as a file, and its checkpoint."""
    from mmengine.config import Config

    from mmwsss.config.config import fit_to_data
    cfg = Config.fromfile(repo_root / 'configs/cam/cam_efflite0_small.py')
    cfg.merge_from_dict({**tiny_cam_options, 'train_cfg.max_epochs': 1})
    folder = tmp_path_factory.mktemp('tested')
    cfg.dump(folder / 'tiny.py')
    return folder / 'tiny.py', train(fit_to_data(cfg, generated_root), folder / 'work').checkpoint


@pytest.fixture
def run_test_tool(load_tool, tested, monkeypatch, tmp_path):
    module = load_tool('test.py')

    def run(data_root, *options):
        monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, tested), '--data-root', str(data_root), '--work-dir',
                                          str(tmp_path / 'work'), '--out', str(tmp_path / 'metrics.json'), *options])
        return module.main()
    return run


def test_metrics_are_written(run_test_tool, generated_root, tmp_path):
    assert run_test_tool(generated_root) == 0
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert 0 < metrics['mIoU'] <= 100 and 0 <= metrics['threshold'] <= 1


def test_without_masks_the_evaluation_is_skipped_and_said(run_test_tool, generated_copy, tmp_path, capsys):
    shutil.rmtree(generated_copy / 'SegmentationClass')
    assert run_test_tool(generated_copy) == 0
    assert 'evaluation is skipped' in capsys.readouterr().out
    assert not (tmp_path / 'metrics.json').exists()


def test_masks_that_were_named_are_not_passed_over(run_test_tool, generated_copy, tmp_path):
    shutil.rmtree(generated_copy / 'SegmentationClass')
    for options, message in (
            (['--seg-dir', 'Typo'], 'Typo: no such folder; correct --seg-dir'),
            (['--cfg-options', 'test_dataloader.dataset.mask_dir=Typo'],
             r'Typo: no such folder; correct --cfg-options test_dataloader\.dataset\.mask_dir')):
        with pytest.raises(UserError, match=message):
            run_test_tool(generated_copy, *options)


def test_nothing_passes_for_a_result(run_test_tool, load_tool, tested, generated_copy, tmp_path, monkeypatch,
                                     repo_root):
    """A wrong split, checkpoint or config is an error; the metrics of an earlier test go where nothing is evaluated."""
    (tmp_path / 'metrics.json').write_text('{"mIoU": 100.0}')
    (generated_copy / 'ImageSets/typo.txt').write_text('zzz\n')
    with pytest.raises(UserError, match='has none of the 1 images of split typo, such as zzz'):
        run_test_tool(generated_copy, '--split', 'typo')
    with pytest.raises(UserError, match=f'{tmp_path}: is a folder; name a file'):
        run_test_tool(generated_copy, '--out', str(tmp_path))
    assert (tmp_path / 'metrics.json').exists()
    shutil.rmtree(generated_copy / 'SegmentationClass')
    assert run_test_tool(generated_copy) == 0 and not (tmp_path / 'metrics.json').exists()
    for config, checkpoint, message in ((tested[0], 'nowhere.pth', r'nowhere\.pth: no such checkpoint'),
                                        (repo_root / 'configs/slams/encoder_efflite0_small.py', tested[1],
                                         'has no test_dataloader, test_cfg, test_evaluator')):
        monkeypatch.setattr(sys, 'argv', ['test.py', str(config), str(checkpoint), '--data-root', str(generated_copy)])
        with pytest.raises(UserError, match=message):
            load_tool('test.py').main()


def test_segmentor_of_a_folder(tested_segmentor, run_segmentor, generated_copy, tmp_path):
    """Whose images are not where VOC has them."""
    (generated_copy / 'JPEGImages').rename(generated_copy / 'images')
    (generated_copy / 'SegmentationClass').rename(generated_copy / 'masks')
    assert run_segmentor(generated_copy, '--cfg-options', 'test_dataloader.dataset.img_dir=images',
                         'test_dataloader.dataset.seg_dir=masks') == 0
    assert json.loads((tmp_path / 'metrics.json').read_text())['mIoU'] > 0


def test_options_of_segmentors_need_their_settings(run_test_tool, generated_root, tmp_path):
    for option, message in (('--tta', 'has no tta_model, tta_pipeline'), ('--crf', 'has no test_postprocessors')):
        with pytest.raises(UserError, match=message):
            run_test_tool(generated_root, option)
    with pytest.raises(UserError, match='--out-dir and --num-workers are of --crf'):
        run_test_tool(generated_root, '--out-dir', str(tmp_path / 'labels'))


def test_segmentor_at_two_scales_with_crf(tested_segmentor, run_segmentor, generated_copy, tmp_path):
    out_dir = tmp_path / 'labels'
    assert run_segmentor(generated_copy, '--tta', '--crf', '--num-workers', '0', '--out-dir', str(out_dir)) == 0
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['refined/num_labels'] == 4 and metrics['refined/mIoU'] > 0 and metrics['mIoU'] > 0
    written = evaluate_label_dir(out_dir, generated_copy, 'val', num_workers=0)
    assert metrics['refined/mIoU'] == pytest.approx(100 * written['mIoU'])
    labels = {path.name: path.read_bytes() for path in out_dir.glob('*.png')}
    shutil.rmtree(generated_copy / 'SegmentationClass')
    shutil.rmtree(out_dir)
    assert run_segmentor(generated_copy, '--tta', '--crf', '--num-workers', '1', '--out-dir', str(out_dir)) == 0
    assert {path.name: path.read_bytes() for path in out_dir.glob('*.png')} == labels and len(labels) == 4


@pytest.fixture
def tested_segmentor(tmp_path, repo_root, generated_root):
    """A tiny segmentor's config as a file, and a checkpoint of random weights."""
    from mmengine.config import Config
    cfg = Config.fromfile(repo_root / 'configs/segmentation/deeplab_efflite0_small.py')
    cfg.model.backbone = dict(type='ResNet38', base_channels=1, out_indices=(2, ))
    cfg.model.decode_head.update(in_channels=64, channels=8)
    cfg.test_dataloader.num_workers = 0
    cfg.tta_pipeline[2].transforms[0] = [dict(type='ScaleImage', factor=factor) for factor in (0.5, 1.0)]
    cfg.dump(tmp_path / 'seg.py')
    init_default_scope('mmwsss')
    torch.manual_seed(0)
    model = MODELS.build(load_config(tmp_path / 'seg.py', generated_root).model)
    model.init_weights()
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=1)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'seg.pth')
    return tmp_path / 'seg.py', tmp_path / 'seg.pth'


@pytest.fixture
def run_segmentor(load_tool, tested_segmentor, monkeypatch, tmp_path):
    module = load_tool('test.py')

    def run(data_root, *options):
        monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, tested_segmentor), '--data-root', str(data_root),
                                          '--work-dir', str(tmp_path / 'work'), '--out', str(tmp_path / 'metrics.json'),
                                          *options])
        return module.main()
    return run
