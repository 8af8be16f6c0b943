"""What a pipeline or a study finds out before its first stage runs."""
import pytest

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments import training_checks
from mmwsss.experiments.training_checks import check_training
from mmwsss.utils.errors import UserError


@pytest.fixture
def processes(monkeypatch):
    def set_number(number):
        for module in ('mmwsss.apis.runner', 'mmwsss.experiments.training_checks'):
            monkeypatch.setattr(f'{module}.get_world_size', lambda: number)

    monkeypatch.setattr(training_checks, 'check_weights', lambda cfg: None)
    return set_number


def test_the_batch_is_shared_by_the_processes(tiny_cam_cfg, generated_root, processes):
    data = DataFolder.find(generated_root)
    count = len(data.stems('train'))
    tiny_cam_cfg.train_dataloader.batch_size = batch = 2 * (count // 2)  # one step for one process or two
    for number in (1, 2):
        processes(number)
        check_training(tiny_cam_cfg, data, 'train')
        assert tiny_cam_cfg.train_dataloader.batch_size == batch
    processes(2)
    tiny_cam_cfg.auto_scale_lr.enable = True  # so many for each of the two
    with pytest.raises(UserError, match='less than one batch'):
        check_training(tiny_cam_cfg, data, 'train')


def test_a_batch_that_cannot_be_shared_is_found(tiny_cam_cfg, generated_root, processes):
    processes(4)
    tiny_cam_cfg.train_dataloader.batch_size = 10
    with pytest.raises(UserError, match='batch_size=10: is the total, which 4 processes cannot share'):
        check_training(tiny_cam_cfg, DataFolder.find(generated_root), 'train')
