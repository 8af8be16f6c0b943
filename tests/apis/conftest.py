import pytest


@pytest.fixture(scope='session')
def trained(tmp_path_factory, repo_root, generated_root, tiny_cam_options):
    """The checkpoint of a trained tiny CAM classifier."""
    from mmwsss.apis.runner import train
    from mmwsss.config.config import load_config
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, dict(tiny_cam_options))
    return train(cfg, tmp_path_factory.mktemp('trained')).checkpoint


CLASSIFIED = ('cat', 'dog', 'owl')


@pytest.fixture(scope='session')
def segmentor(tmp_path_factory, repo_root, generated_root):
    """Config and checkpoint of a tiny segmentor with random weights, on the classes of the generated data."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from mmwsss.registry import MODELS
    folder = tmp_path_factory.mktemp('segmentor')
    cfg = Config.fromfile(repo_root / 'configs/segmentation/deeplab_efflite0_small.py')
    cfg.model.backbone = dict(type='ResNet38', base_channels=1, out_indices=(2, ))
    cfg.model.decode_head.update(in_channels=64, channels=8)
    cfg.test_dataloader.num_workers = 0
    cfg.dump(folder / 'seg.py')
    init_default_scope('mmwsss')
    torch.manual_seed(0)
    from mmwsss.config.config import load_config
    model = MODELS.build(load_config(folder / 'seg.py', generated_root).model)
    model.init_weights()
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=1)
    classes = ('background', *(generated_root / 'classes.txt').read_text().split())
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))), folder / 'seg.pth')
    return folder / 'seg.py', folder / 'seg.pth'


@pytest.fixture(scope='session')
def classifier(tmp_path_factory, repo_root):
    """Config and checkpoint of a classifier with random weights."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from mmwsss.registry import MODELS
    folder = tmp_path_factory.mktemp('classifier')
    cfg = Config.fromfile(repo_root / 'configs/cam/cam_efflite0_small.py')
    cfg.model.backbone = dict(type='ResNet38', base_channels=1, out_indices=(2, ))
    cfg.model.cam_head.update(in_channels=64, num_classes=3)
    cfg.model.inference_hooks = []
    cfg.dump(folder / 'cam.py')
    init_default_scope('mmwsss')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    meta = dict(dataset_meta=dict(classes=CLASSIFIED))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'cam.pth')
    return folder / 'cam.py', folder / 'cam.pth'


@pytest.fixture
def photographs(tmp_path):
    """Photographs of two sizes in a folder with a sub folder; two have one name."""
    import numpy as np
    from PIL import Image
    rng = np.random.default_rng(0)
    for name, size in (('a.jpg', (40, 56)), ('b.png', (40, 56)), ('sub/a.png', (32, 48))):
        path = tmp_path / 'photographs' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return tmp_path / 'photographs'
