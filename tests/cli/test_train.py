import pytest

from mmwsss.apis import runner
from mmwsss.apis.runner import RunResult
from mmwsss.cli.main import main


@pytest.fixture
def trained(monkeypatch, capsys):
    """Runs ``mmwsss train`` with a training that does nothing: (exit code, config, stderr)."""
    calls = []

    def train(cfg, work_dir, resume, launcher):
        runner.check_supervision(cfg)
        calls.append((cfg, str(work_dir), resume))
        return RunResult('epoch_1.pth')

    monkeypatch.setattr(runner, 'train', train)

    def run(*words):
        calls.clear()
        with pytest.raises(SystemExit) as stop:
            main(['train', *map(str, words)])
        return stop.value.code, calls[0] if calls else None, capsys.readouterr().err

    return run


def test_a_packaged_config_and_its_work_folder(trained, generated_root):
    code, (cfg, work_dir, resume), _ = trained('cam_efflite0_small', '--data-root', generated_root)
    assert code == 0 and work_dir == 'work_dirs/cam_efflite0_small' and not resume
    assert cfg.train_dataloader.dataset.data_root == str(generated_root)
    assert cfg.optim_wrapper.type != 'AutocastOptimWrapper' and not cfg.auto_scale_lr.enable


def test_flags_of_openmmlab(trained, generated_root):
    code, (cfg, work_dir, resume), _ = trained(
        'cam/cam_efflite0_small.py', '--data-root', generated_root, '--work-dir', 'w', '--resume', '--amp',
        '--auto-scale-lr', '--cfg-options', 'train_dataloader.batch_size=4')
    assert code == 0 and (work_dir, resume) == ('w', True)
    assert cfg.optim_wrapper.type == 'AutocastOptimWrapper'
    # The learning rate of the file is for its batches of 16; these are of 4.
    assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True) and cfg.train_dataloader.batch_size == 4
    _, (cfg, *_), _ = trained('cam_efflite0_small', '--data-root', generated_root, '--auto-scale-lr', '--cfg-options',
                              'auto_scale_lr.base_batch_size=8')
    assert cfg.auto_scale_lr == dict(base_batch_size=8, enable=True)


def test_a_segmentor_is_told_its_labels(trained, generated_root, tmp_path, monkeypatch):
    words = 'deeplab_efflite0_small', '--data-root', generated_root
    code, call, err = trained(*words)
    assert code == 1 and call is None and '--full-supervision' in err and err.count('\n') == 1
    monkeypatch.chdir(tmp_path)
    code, call, err = trained(*words, '--labels', 'labels')
    assert code == 1 and call is None and err.startswith('error: --labels labels: no such folder; ')
    (tmp_path / 'labels').mkdir()
    code, (cfg, *_), _ = trained(*words, '--labels', 'labels')
    assert code == 0 and cfg.train_dataloader.dataset.seg_dir == str(tmp_path / 'labels')
    for asked in (['--full-supervision'], ['--cfg-options', 'train_dataloader.dataset.seg_dir=SegmentationClass']):
        code, (cfg, *_), _ = trained(*words, *asked)
        assert code == 0 and cfg.train_dataloader.dataset.seg_dir == 'SegmentationClass' and cfg.full_supervision


def test_labels_are_for_segmentors(trained, generated_root, tmp_path):
    code, _, err = trained('cam_efflite0_small', '--data-root', generated_root, '--labels', tmp_path)
    assert code == 1 and 'takes no label maps' in err


def test_a_folder_of_images_with_the_config_for_voc_layout(trained, generated_copy):
    (generated_copy / 'JPEGImages').rename(generated_copy / 'images')
    (generated_copy / 'ImageSets/train.txt').unlink()
    (generated_copy / 'ImageSets/val.txt').unlink()
    code, (cfg, *_), _ = trained('cam_efflite0_small', '--data-root', generated_copy)
    dataset = cfg.train_dataloader.dataset
    assert code == 0 and (dataset.type, dataset.img_dir, dataset.split) == ('ImageLabelDataset', 'images', None)


def test_an_option_of_the_wrong_type(trained, generated_root):
    code, _, err = trained('cam_efflite0_small', '--data-root', generated_root, '--cfg-options',
                           'train_cfg.max_epochs=many')
    assert (code, err) == (1, 'error: --cfg-options train_cfg.max_epochs=many: must be a whole number\n')
