"""What a training and a test look at before they begin."""
import pytest

from mmwsss.apis import runner
from mmwsss.config.config import load_config
from mmwsss.utils.errors import UserError


class Started(Exception):
    """Where the run would begin."""


@pytest.fixture
def warned(monkeypatch):
    """What was warned of as slow mixed precision."""
    def from_cfg(cfg):
        raise Started

    warned = []
    monkeypatch.setattr(runner.LoggedRunner, 'from_cfg', from_cfg)
    monkeypatch.setattr(runner, 'warn_of_slow_amp', warned.append)
    return warned


@pytest.mark.parametrize('amp', [True, False])
def test_slow_mixed_precision_is_said(tiny_cam_cfg, tmp_path, warned, amp):
    if amp:
        tiny_cam_cfg.optim_wrapper.type = 'AutocastOptimWrapper'
        tiny_cam_cfg.test_cfg.amp = 'bfloat16'
    with pytest.raises(Started):
        runner.train(tiny_cam_cfg, tmp_path)
    with pytest.raises(Started):
        runner.test(tiny_cam_cfg, 'epoch_1.pth', tmp_path)
    assert warned == ['--amp', '--amp'] * amp


def test_a_segmentor_is_not_trained_on_ground_truth_by_accident(repo_root, generated_root, tmp_path, warned):
    cfg = load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_root)
    with pytest.raises(UserError, match='--full-supervision'):
        runner.train(cfg, tmp_path)
    cfg.full_supervision = True
    with pytest.raises(Started):
        runner.train(cfg, tmp_path)


@pytest.mark.parametrize('look', [True, False])
def test_images_are_looked_at_before_a_training_and_a_test(tiny_cam_cfg, tmp_path, monkeypatch, look):
    """After the weights are there, and before anything is computed."""
    looked = []

    def check(model, dataset):
        looked.append((type(model).__name__, len(dataset)))
        raise UserError('weights of another style')

    def begin(*args, **kwargs):
        raise Started

    monkeypatch.setattr('mmwsss.engine.hooks.input_statistics_hook.check_input_statistics', check)
    monkeypatch.setattr(runner, 'check_input_statistics', check)
    monkeypatch.setattr('mmengine.runner.EpochBasedTrainLoop.run_epoch', begin)
    monkeypatch.setattr(runner.LoggedRunner, 'test', begin)
    monkeypatch.setattr(runner, 'load_for_inference', lambda model, checkpoint, classes: model)
    tiny_cam_cfg.check_input_statistics = look
    for run in (lambda: runner.train(tiny_cam_cfg, tmp_path / 'train'),
                lambda: runner.test(tiny_cam_cfg, 'epoch_1.pth', tmp_path / 'test')):
        with pytest.raises(UserError if look else Started):
            run()
    assert [name for name, _ in looked] == ['CAMClassifier'] * 2 * look
