"""Tiny random networks of transformers, by family."""
import contextlib
import io

import pytest
import torch

TOKENS = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=8)
STAGES = dict(depths=[1, 1, 2, 1])
CONFIGS = dict(
    vit=dict(model_type='vit', intermediate_size=32, **TOKENS),
    deit=dict(model_type='deit', intermediate_size=32, **TOKENS),
    dinov2=dict(model_type='dinov2', mlp_ratio=2, **TOKENS),
    dinov2_with_registers=dict(model_type='dinov2_with_registers', mlp_ratio=2, **TOKENS),
    dinov3_vit=dict(model_type='dinov3_vit', intermediate_size=32, num_register_tokens=2, **TOKENS),
    clip=dict(model_type='clip_vision_model', intermediate_size=32, projection_dim=12, **TOKENS),
    siglip=dict(model_type='siglip_vision_model', intermediate_size=32, **TOKENS),
    swin=dict(model_type='swin', embed_dim=8, num_heads=[1, 1, 2, 2], window_size=4, image_size=64, **STAGES),
    swinv2=dict(model_type='swinv2', embed_dim=8, num_heads=[1, 1, 2, 2], window_size=4, image_size=64, **STAGES),
    convnext=dict(model_type='convnext', hidden_sizes=[8, 8, 16, 16], **STAGES),
    convnextv2=dict(model_type='convnextv2', hidden_sizes=[8, 8, 16, 16], **STAGES),
    dinov3_convnext=dict(model_type='dinov3_convnext', hidden_sizes=[8, 8, 16, 16], **STAGES),
    pvt_v2=dict(model_type='pvt_v2', hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], **STAGES),
    resnet=dict(model_type='resnet', embedding_size=8, hidden_sizes=[8, 8, 16, 16], **STAGES),
    beit=dict(model_type='beit', intermediate_size=32, **TOKENS),
)
FAMILIES = ('vit', 'dinov2', 'clip', 'swin', 'convnext')
TOKEN_KINDS = ('vit', 'deit', 'dinov2', 'dinov2_with_registers', 'dinov3_vit', 'clip', 'siglip')


def need_transformers():
    """Skips where transformers is not installed."""
    with contextlib.redirect_stderr(io.StringIO()):
        transformers = pytest.importorskip('transformers', reason='pip install mmwsss[transformers]')
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def tiny(kind, **kwargs):
    """Returns the config of a backbone; one of stages gives those of strides 8, 16 and 32 unless told otherwise."""
    out = (1, 2, 3) if kind in TOKEN_KINDS or kind in ('beit', 'pvt_v2') else (2, 3, 4)
    return {'type': 'HFBackbone', 'config': CONFIGS[kind], 'out_indices': out, **kwargs}


def scrambled(module, seed=0):
    """Gives every parameter random values, so that none is zero or one by its initialisation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return module
