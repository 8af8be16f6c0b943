import pytest


@pytest.fixture(scope='session')
def trained(tmp_path_factory, repo_root, generated_root, tiny_cam_options):
    """The checkpoint of a trained tiny CAM classifier."""
    from mmwsss.apis.runner import train
    from mmwsss.config.config import load_config
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, dict(tiny_cam_options))
    return train(cfg, tmp_path_factory.mktemp('trained')).checkpoint
