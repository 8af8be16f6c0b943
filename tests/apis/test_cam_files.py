import copy
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmwsss.apis.cam_files import cam_config_hash, make_cam
from mmwsss.apis.runner import test as run_test
from mmwsss.config.config import load_config
from mmwsss.structures.cam_file import read_cam
from mmwsss.utils.errors import UserError


def files(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob('*.npz'))}


def test_cam_files_cover_the_split(trained, tiny_cam_cfg, generated_root, tmp_path):
    result = make_cam(tiny_cam_cfg, trained, tmp_path / 'cam', 'train')
    labels = json.loads((generated_root / 'labels.json').read_text())
    classes = (generated_root / 'classes.txt').read_text().split()
    stems = (generated_root / 'ImageSets/train.txt').read_text().split()
    assert result.metrics['num_cams'] == len(stems) and not result.skipped
    for stem in stems:
        cam = read_cam(tmp_path / 'cam' / f'{stem}.npz')
        assert [classes[k] for k in cam.classes] == sorted(labels[stem], key=classes.index)
        assert cam.cam.dtype == np.float16 and cam.cam.min() >= 0 and cam.cam.max() <= 1


@pytest.mark.parametrize('folder', ['JPEGImages', 'SegmentationClass/cams', 'Annotations'])
def test_cams_are_no_part_of_the_data(trained, tiny_cam_cfg, generated_root, folder):
    before = sorted(generated_root.rglob('*'))
    with pytest.raises(UserError, match='is a folder of the data set'):
        make_cam(tiny_cam_cfg, trained, generated_root / folder, 'train')
    assert sorted(generated_root.rglob('*')) == before


def test_a_segmentor_makes_no_cams(repo_root, generated_root, tmp_path):
    cfg = load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_root)
    with pytest.raises(UserError, match=r'deeplab_efflite0_small\.py: is of a segmentor, which makes no CAMs'):
        make_cam(cfg, 'none.pth', tmp_path / 'cam')
    assert not any(tmp_path.iterdir())


def test_resuming_writes_the_same_bytes(trained, tiny_cam_cfg, tmp_path):
    make_cam(tiny_cam_cfg, trained, tmp_path / 'whole', 'train')
    make_cam(tiny_cam_cfg, trained, tmp_path / 'part', 'train')
    for path in list((tmp_path / 'part').glob('*.npz'))[::3]:
        path.unlink()
    result = make_cam(tiny_cam_cfg, trained, tmp_path / 'part', 'train')
    assert 0 < result.metrics['num_cams'] <= 12
    assert files(tmp_path / 'part') == files(tmp_path / 'whole')
    assert make_cam(tiny_cam_cfg, trained, tmp_path / 'part', 'train').metrics['num_cams'] == 0


def test_initial_weights_of_a_model_inside_do_not_make_other_cams(tiny_cam_cfg):
    backbone = dict(type='ResNet38', frozen_stages=1)

    def digest(backbone=backbone):
        model = dict(type='SEAM', classifier=dict(type='CAMClassifier', backbone=backbone))
        return cam_config_hash(Config(dict(tiny_cam_cfg.to_dict(), model=model)))
    assert digest() == digest(backbone=dict(backbone, init_cfg=dict(type='StrictPretrained', checkpoint='weights.pth')))
    assert digest() != digest(backbone=dict(backbone, depth=3))


def test_workers_do_not_change_the_bytes(trained, tiny_cam_cfg, tmp_path):
    make_cam(tiny_cam_cfg, trained, tmp_path / 'zero', 'train')
    tiny_cam_cfg.test_dataloader.num_workers = 4
    make_cam(tiny_cam_cfg, trained, tmp_path / 'four', 'train')
    assert files(tmp_path / 'zero') == files(tmp_path / 'four')


def test_batch_size_changes_cams_within_the_bound(trained, tiny_cam_cfg, tmp_path):
    tiny_cam_cfg.test_dataloader.batch_size = 1
    make_cam(tiny_cam_cfg, trained, tmp_path / 'one', 'train')
    tiny_cam_cfg.test_dataloader.batch_size = 8
    make_cam(tiny_cam_cfg, trained, tmp_path / 'eight', 'train')
    for path in (tmp_path / 'one').glob('*.npz'):
        one, eight = read_cam(path).cam, read_cam(tmp_path / 'eight' / path.name).cam
        assert np.abs(one.astype(np.float32) - eight.astype(np.float32)).max() <= 2**-10


def test_folder_of_another_config_is_refused(trained, tiny_cam_cfg, tmp_path):
    make_cam(tiny_cam_cfg, trained, tmp_path, 'train')
    other = copy.deepcopy(tiny_cam_cfg)
    other.model.inference_hooks = []
    with pytest.raises(UserError, match=str(tmp_path)):
        make_cam(other, trained, tmp_path, 'train')


def test_predictions_and_files_have_the_same_evaluation(trained, tiny_cam_cfg, generated_root, tmp_path):
    from mmwsss.apis.evaluation import evaluate_cam_dir
    tested = run_test(copy.deepcopy(tiny_cam_cfg), trained, tmp_path / 'work').metrics
    make_cam(tiny_cam_cfg, trained, tmp_path / 'cam', 'train')
    report = evaluate_cam_dir(tmp_path / 'cam', generated_root, 'train')
    assert tested['mIoU'] == pytest.approx(100 * report['mIoU'], abs=0.01)
    assert tested['threshold'] == pytest.approx(report['threshold'])


def test_unreadable_image_is_left_out_and_said(trained, tiny_cam_cfg, generated_copy, tmp_path):
    victim = sorted((generated_copy / 'JPEGImages').glob('train_*.jpg'))[2]
    victim.write_bytes(victim.read_bytes()[:300])
    tiny_cam_cfg.test_dataloader.dataset.data_root = str(generated_copy)
    result = make_cam(tiny_cam_cfg, trained, tmp_path / 'cam', 'train')
    assert [path for path, _ in result.skipped] == [str(victim)]
    assert len(files(tmp_path / 'cam')) == 11 and f'{victim.stem}.npz' not in files(tmp_path / 'cam')


def test_checkpoint_of_another_model_does_not_keep_the_right_one_out(trained, tiny_cam_cfg, tmp_path):
    torch.save(dict(state_dict={'other.weight': torch.ones(1)}), tmp_path / 'other.pth')
    with pytest.raises(UserError, match=r'other\.pth'):
        make_cam(tiny_cam_cfg, tmp_path / 'other.pth', tmp_path / 'cam', 'train')
    assert make_cam(tiny_cam_cfg, trained, tmp_path / 'cam', 'train').metrics['num_cams'] == 12
    with pytest.raises(UserError):  # what is there is not given up for it
        make_cam(tiny_cam_cfg, tmp_path / 'other.pth', tmp_path / 'cam', 'train')
    assert make_cam(tiny_cam_cfg, trained, tmp_path / 'cam', 'train').metrics['num_cams'] == 0


def test_config_that_refines_cams_is_refused(trained, repo_root, generated_root, tmp_path):
    cfg = load_config(repo_root / 'configs/affinitynet/affinitynet_efflite0_small.py', generated_root)
    with pytest.raises(UserError, match=r'affinitynet_efflite0_small\.py: refines CAMs .*mmwsss refine'):
        make_cam(cfg, trained, tmp_path / 'cam', 'train')
    assert not (tmp_path / 'cam').exists()
