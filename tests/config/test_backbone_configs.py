"""Every config of configs/backbones builds at its true channels, with random weights, and predicts."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import LabelData, PixelData
from mmengine.utils import import_modules_from_strings
from mmseg.structures import SegDataSample

from mmwsss.config.config import load_config
from mmwsss.registry import MODELS

FOLDER = Path(__file__).parents[2] / 'configs/backbones'
# Channels, blocks and strides of the models on the hub; what lies within a block is made smaller.
HUB = {
    'facebook/dinov2-small': dict(model_type='dinov2', hidden_size=384, num_attention_heads=6, patch_size=14,
                                  image_size=518, mlp_ratio=1),
    'facebook/deit-small-patch16-224': dict(model_type='deit', hidden_size=384, num_attention_heads=6,
                                            intermediate_size=64),
    'openai/clip-vit-base-patch16': dict(model_type='clip_vision_model', patch_size=16, intermediate_size=64),
    'microsoft/swin-tiny-patch4-window7-224': dict(model_type='swin', depths=[1, 1, 1, 1], mlp_ratio=1.0),
    'facebook/convnext-tiny-224': dict(model_type='convnext', depths=[1, 1, 1, 1]),
}
PACKAGES = dict(timm='timm', mmpretrain='onedl-mmpretrain model-index')


def without_weights(part, texts):
    """Replaces what would be read from a hub or a file."""
    if isinstance(part, dict):
        for key in ('init_cfg', 'pretrained'):
            if key in part:
                part[key] = None if key == 'init_cfg' else False
        if part.get('type') == 'HFBackbone':
            part['config'] = HUB[part.pop('model')]
        if part.get('type') == 'MultiScaleFlip':
            part['scales'] = (1.0,)
        if 'pad_size' in part:
            part['pad_size'] = None
        if 'embeddings' in part:
            part['embeddings'] = texts
        for value in part.values():
            without_weights(value, texts)
    elif isinstance(part, (list, tuple)):
        for value in part:
            without_weights(value, texts)


@torch.no_grad()
@pytest.mark.parametrize('config', sorted(path.name for path in FOLDER.glob('*.py')))
def test_builds_and_predicts(config, generated_root, tmp_path):
    for name, packages in PACKAGES.items():
        if config.startswith(name):
            pytest.importorskip(name, reason=f'pip install {packages}')
    if 'HFBackbone' in (FOLDER / config).read_text() or 'dinov2' in config:
        pytest.importorskip('transformers', reason='pip install mmwsss[transformers]')
    cfg = load_config(FOLDER / config, generated_root)
    import_modules_from_strings(**cfg.get('custom_imports', dict(imports=[])))
    np.save(tmp_path / 'texts.npy', np.random.default_rng(0).normal(size=(5, 512)).astype(np.float32))
    without_weights(cfg.model, str(tmp_path / 'texts.npy'))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmwsss'):
        model = MODELS.build(cfg.model).eval()
    size = (64, 96)
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size, img_path='photo.jpg'))
    sample.gt_img_label = LabelData(label=torch.tensor([1.0, 0, 1]))
    sample.gt_cam, sample.gt_cam_classes = PixelData(data=torch.rand(2, 16, 24)), LabelData(label=torch.tensor([0, 2]))
    result = model.predict(torch.randn(1, 3, *size), [sample])[0]
    if 'deeplab' in config:
        assert result.pred_sem_seg.data.shape == (1, *size)
    elif 'irnet' not in config:
        assert result.pred_cam.data.shape == (2, 16, 24) and result.pred_cam.data.isfinite().all()
