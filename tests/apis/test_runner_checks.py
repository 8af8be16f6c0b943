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
    monkeypatch.setattr(runner.Runner, 'from_cfg', from_cfg)
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
