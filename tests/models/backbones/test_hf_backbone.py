import copy
import json

import pytest
import torch
import torch.nn.functional as F
from hf_toy import CONFIGS, TOKEN_KINDS, need_transformers, scrambled, tiny

from mmwsss.models.backbones import hf_models
from mmwsss.models.backbones.hf_backbone import fit_size
from mmwsss.registry import MODELS
from mmwsss.structures import FeatureMaps
from mmwsss.utils.errors import UserError

transformers = need_transformers()


def build(kind, **kwargs):
    torch.manual_seed(0)
    return scrambled(MODELS.build(tiny(kind, **kwargs)))


def folder(path, kind, cls, normalization=None):
    """A folder as save_pretrained writes it, with random weights."""
    config = copy.deepcopy(CONFIGS[kind])
    model = scrambled(cls(transformers.CONFIG_MAPPING[config.pop('model_type')](**config)), seed=1)
    model.save_pretrained(path)
    if normalization:
        (path / 'preprocessor_config.json').write_text(json.dumps(normalization))
    return model.eval()


@pytest.mark.parametrize('size', [(64, 96), (50, 75)])
@pytest.mark.parametrize('kind', CONFIGS)
def test_maps_of_every_model(kind, size):
    model = build(kind).eval()
    maps = model(torch.randn(2, 3, *size))
    strides = (8, 8, 8) if kind in TOKEN_KINDS or kind == 'beit' else (8, 16, 32)
    assert len(maps) == 3 and tuple(m.shape[1] for m in maps) == model.channels
    for m, stride in zip(maps, strides):
        assert m.shape[0] == 2 and m.dtype == torch.float32 and m.isfinite().all()
        for got, side in zip(m.shape[-2:], size):
            assert abs(got * stride - side) < max(stride, model.size_divisor / 2 + 1)


@pytest.mark.parametrize('kind', CONFIGS)
def test_every_trainable_parameter_gets_a_gradient(kind):
    model = build(kind).train()
    sum(m.square().sum() for m in model(torch.randn(2, 3, 64, 64))).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize('kind', ['swin', 'convnext', 'pvt_v2', 'resnet', 'vit'])
def test_what_comes_after_the_last_map_is_left_out(kind):
    model = build(kind, out_indices=(1,)).train()
    model(torch.randn(2, 3, 64, 64))[0].sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@torch.no_grad()
@pytest.mark.parametrize('kind', ['dinov2', 'dinov2_with_registers', 'dinov3_vit'])
def test_equals_autobackbone(kind):
    ours = build(kind, out_indices=(0, 2, 3)).eval()
    config = dict(CONFIGS[kind])
    config = transformers.CONFIG_MAPPING[config.pop('model_type')](**config, out_indices=[0, 2, 3])
    theirs = transformers.AutoBackbone.from_config(config).eval()
    theirs.load_state_dict(ours.model.state_dict())
    images = torch.randn(2, 3, 40, 64)
    for one, other in zip(ours(images), theirs(images).feature_maps):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_tokens_of_vit_are_those_of_its_last_hidden_state():
    model = build('vit', out_indices=(3,)).eval()
    images = torch.randn(2, 3, 32, 48)
    maps = model(images)
    hidden = model.model(images, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(maps.tokens, hidden[:, :1])
    torch.testing.assert_close(maps[0].flatten(2).transpose(1, 2), hidden[:, 1:])
    for row in range(4):  # patches by rows
        torch.testing.assert_close(maps[0][:, :, row, 2], hidden[:, 1 + row * 6 + 2])


@torch.no_grad()
def test_clip_projects_to_the_text_space():
    model = build('clip', out_indices=(-1,), project=True).eval()
    images = torch.randn(2, 3, 32, 32)
    maps = model(images)
    assert maps[0].shape == (2, 12, 4, 4) and model.channels == (12,)
    torch.testing.assert_close(maps.tokens[:, 0], model.model(images).image_embeds)


@torch.no_grad()
@pytest.mark.parametrize('kind', [k for k in TOKEN_KINDS if k != 'siglip'])
def test_attention_is_the_mean_over_heads_of_the_last_blocks(kind):
    images = torch.randn(2, 3, 32, 40)
    model = build(kind, attention_blocks=2, out_indices=(1, 3)).eval()
    maps = model(images)
    options = {} if 'dino' in kind else dict(interpolate_pos_encoding=True)
    expected = model.model(images, output_attentions=True, **options).attentions[-2:]
    assert maps.attentions.grid == (4, 5) and maps.attentions.num_special == maps.tokens.shape[1]
    for got, weights in zip(maps.attentions.blocks, expected):
        torch.testing.assert_close(got, weights.mean(dim=1))
        torch.testing.assert_close(got.sum(-1), torch.ones(got.shape[:2]))
    special = maps.attentions.special_to_patch()[1]
    assert special.shape == (2, maps.attentions.num_special, 4, 5)
    torch.testing.assert_close(special[:, 0, 1, 2], maps.attentions.blocks[1][:, 0, -20 + 7])
    torch.testing.assert_close(maps.attentions.patch_to_patch()[0], maps.attentions.blocks[0][:, -20:, -20:])
    # the fast attention gives the same maps
    for one, other in zip(maps, build(kind, out_indices=(1, 3)).eval()(images)):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('kind', TOKEN_KINDS)
def test_maps_without_the_norm_lie_on_the_way(kind):
    images = torch.randn(2, 3, 32, 40)
    options = dict(project=True) if kind == 'clip' else {}
    raw = build(kind, final_norm=False, out_indices=(0, 1, 3), **options).eval()
    maps = raw(images)
    assert [m.shape[1] for m in maps] == [16] * 3 == list(raw.channels)
    score = maps[-1].square().sum() if maps.tokens is None else maps.tokens.square().sum() + maps[-1].square().sum()
    grads = torch.autograd.grad(score, list(maps))
    assert all(grad.abs().sum() > 0 for grad in grads)
    # a step along the gradient of an earlier map, put in its place, changes the score as the gradient says
    step = 1e-2 * grads[1] / grads[1].norm()
    block = hf_models.find_layers(raw.model, 3)[1][0]
    flat = step.flatten(2).transpose(1, 2)

    def moved(module, args, output):
        states = output[0] if isinstance(output, tuple) else output
        states = torch.cat([states[:, :-flat.shape[1]], states[:, -flat.shape[1]:] + flat], dim=1)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    with block.register_forward_hook(moved):
        later = raw(images)
    change = later[-1].square().sum() - maps[-1].square().sum()
    if maps.tokens is not None:
        change = change + later.tokens.square().sum() - maps.tokens.square().sum()
    assert change.item() == pytest.approx((grads[1] * step).sum().item(), rel=0.2)
    if kind == 'clip':  # has drawn other weights, for its projection
        return
    normed = build(kind, out_indices=(0, 1, 3)).eval()
    norm = hf_models.find_part(normed.model, hf_models.NORM_NAMES)
    for one, other in zip(maps, normed(images)):
        torch.testing.assert_close(norm(one.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('kind', ['vit', 'dinov2', 'clip', 'swin', 'pvt_v2'])
def test_checkpointing_changes_no_gradient(kind):
    images, grads = torch.randn(2, 3, 64, 64), []
    for with_cp in (False, True):
        attention = dict(attention_blocks=1) if kind in TOKEN_KINDS else {}
        model = build(kind, with_cp=with_cp, **attention).train()
        for module in model.modules():
            if hasattr(module, 'drop_prob'):
                module.drop_prob = 0.0
        maps = model(images)
        loss = sum(m.square().mean() for m in maps)
        if attention:
            loss = loss + maps.attentions.blocks[0].square().sum()
        loss.backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys() and grads[0]
    for name in grads[0]:
        torch.testing.assert_close(grads[1][name], grads[0][name], rtol=1e-4, atol=1e-5, msg=name)


def test_checkpointing_where_transformers_has_none():
    with pytest.raises(UserError, match='with_cp=True'):
        build('convnext', with_cp=True)


@pytest.mark.parametrize('kind', ['vit', 'swin', 'resnet'])
def test_frozen(kind):
    model = build(kind, frozen=True)
    model.train()
    assert not any(module.training for name, module in model.named_modules() if name)
    assert not any(p.requires_grad for p in model.parameters())
    before = copy.deepcopy(model.state_dict())
    assert not any(m.requires_grad for m in model(torch.randn(2, 3, 64, 64, requires_grad=True)))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize('kind, part, free', [
    ('vit', ['embeddings.', 'layers.0.', 'layers.1.'], 'layers.2.'),
    ('swin', ['swin.embeddings.', 'swin.encoder.layers.0.', 'swin.encoder.layers.1.'], 'swin.encoder.layers.2.'),
    ('convnext', ['embeddings.', 'encoder.stages.0.', 'encoder.stages.1.'], 'encoder.stages.2.')])
def test_frozen_stages(kind, part, free):
    model = build(kind, frozen_stages=3).train()
    seen = set()
    for name, parameter in model.model.named_parameters():
        for prefix in part:
            if name.startswith(prefix):
                assert not parameter.requires_grad, name
                seen.add(prefix)
        if name.startswith(free):
            assert parameter.requires_grad, name
            seen.add(free)
    assert seen == {*part, free}


def test_layer_depths():
    model = build('dinov2')
    depth = {name: model.get_layer_depth(f'backbone.{name}', 'backbone.') for name, _ in model.named_parameters()}
    assert {total for _, total in depth.values()} == {5}
    assert depth['model.embeddings.cls_token'][0] == depth['model.embeddings.position_embeddings'][0] == 0
    assert [depth[f'model.encoder.layer.{i}.norm1.weight'][0] for i in range(3)] == [1, 2, 3]
    assert depth['model.layernorm.weight'][0] == 4
    swin = build('swin')
    assert swin.get_layer_depth('model.swin.encoder.layers.2.blocks.1.layernorm_before.weight') == (3, 6)
    assert swin.get_layer_depth('model.hidden_states_norms.stage2.weight') == (5, 6)


@torch.no_grad()
def test_class_tokens_stand_in_the_place_of_the_class_token():
    images = torch.randn(2, 3, 32, 32)
    for kind in ('vit', 'clip', 'dinov2_with_registers'):
        one, plain = build(kind, num_class_tokens=1, attention_blocks=1).eval(), build(kind).eval()
        one.model.load_state_dict(plain.model.state_dict())
        one.class_tokens.zero_()
        torch.testing.assert_close(one(images)[-1], plain(images)[-1], rtol=1e-4, atol=1e-5)
        many = build(kind, num_class_tokens=5, attention_blocks=1).eval()
        maps = many(images)
        extra = 4 if kind == 'dinov2_with_registers' else 0
        assert maps.tokens.shape == (2, 5 + extra, 16) and maps.attentions.num_special == 5 + extra


def test_class_tokens_train():
    model = build('vit', num_class_tokens=4).train()
    model(torch.randn(2, 3, 32, 32)).tokens.mean().backward()
    assert model.class_tokens.grad.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize('kind, cls', [
    ('vit', 'ViTModel'), ('vit', 'ViTForImageClassification'), ('dinov2', 'Dinov2Model'), ('clip', 'CLIPVisionModel'),
    ('siglip', 'SiglipVisionModel'), ('swin', 'SwinForImageClassification'), ('convnext', 'ConvNextModel')])
def test_weights_of_a_folder(tmp_path, kind, cls):
    theirs = folder(tmp_path, kind, getattr(transformers, cls))
    ours = MODELS.build(dict(type='HFBackbone', model=str(tmp_path), out_indices=(-1,))).eval()
    images = torch.randn(1, 3, 128, 128)
    before = ours(images)[0]
    ours.init_weights()
    after = ours(images)[0]
    assert not torch.allclose(before, after)
    options = dict(interpolate_pos_encoding=True) if kind in ('vit', 'clip', 'siglip') else {}
    hidden = theirs(images, output_hidden_states=True, **options)
    if kind in ('swin', 'convnext'):
        states = (hidden.reshaped_hidden_states if kind == 'swin' else hidden.hidden_states)[-1]
        norm = torch.nn.LayerNorm(states.shape[1])
        states = norm(states.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(after, states, rtol=1e-4, atol=1e-4)
    else:
        states = hidden.hidden_states[-1]
        base = getattr(theirs, 'vit', theirs)
        norm = base.post_layernorm if hasattr(base, 'post_layernorm') else base.layernorm
        states = norm(states)[:, -256:]
        torch.testing.assert_close(after.flatten(2).transpose(1, 2), states, rtol=1e-4, atol=1e-4)


def test_vision_tower_of_a_whole_clip(tmp_path):
    vision = {k: v for k, v in CONFIGS['clip'].items() if k != 'model_type'}
    text = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20)
    config = transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=12)
    clip = scrambled(transformers.CLIPModel(config), seed=1).eval()
    clip.save_pretrained(tmp_path)
    ours = MODELS.build(dict(type='HFBackbone', model=str(tmp_path), project=True)).eval()
    ours.init_weights()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = clip.visual_projection(clip.vision_model(images).pooler_output)
        torch.testing.assert_close(ours(images).tokens[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_normalization_of_a_folder(tmp_path):
    folder(tmp_path, 'vit', transformers.ViTModel,
           dict(do_normalize=True, image_mean=[0.5, 0.4, 0.3], image_std=[0.1, 0.2, 0.2], rescale_factor=1 / 255))
    normalization = MODELS.build(dict(type='HFBackbone', model=str(tmp_path))).normalization
    assert normalization.mean == pytest.approx((127.5, 102, 76.5))
    assert normalization.std == pytest.approx((25.5, 51, 51))
    assert build('vit').normalization is None
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(dict(do_normalize=False)))
    assert MODELS.build(dict(type='HFBackbone', model=str(tmp_path))).normalization.std == pytest.approx((255,) * 3)
    (tmp_path / 'preprocessor_config.json').write_text('{"image_mean": [1')
    with pytest.raises(UserError, match=r'preprocessor_config.json: broken'):
        MODELS.build(dict(type='HFBackbone', model=str(tmp_path)))


def test_weights_of_another_model_are_refused(tmp_path):
    folder(tmp_path, 'vit', transformers.ViTModel)
    other = MODELS.build(tiny('vit', pretrained=str(tmp_path), config=dict(CONFIGS['vit'], hidden_size=24)))
    with pytest.raises(UserError, match='another shape'):
        other.init_weights()
    deeper = MODELS.build(tiny('vit', out_indices=(-1,), pretrained=str(tmp_path),
                               config=dict(CONFIGS['vit'], num_hidden_layers=4)))
    with pytest.raises(UserError, match=r'missing or of another shape, such as .*layers?\.3\.'):
        deeper.init_weights()
    weights = tmp_path / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match='cannot be loaded'):
        MODELS.build(dict(type='HFBackbone', model=str(tmp_path))).init_weights()


def test_pickled_objects_are_not_loaded(tmp_path):
    folder(tmp_path, 'vit', transformers.ViTModel)
    (tmp_path / 'model.safetensors').unlink()
    marker = tmp_path / 'ran'

    class Code:
        def __reduce__(self):
            return open, (str(marker), 'w')

    torch.save(dict(weight=Code()), tmp_path / 'pytorch_model.bin')
    with pytest.raises(UserError, match='cannot be loaded'):
        MODELS.build(dict(type='HFBackbone', model=str(tmp_path))).init_weights()
    assert not marker.exists()


def test_init_weights_of_the_model_around_keeps_the_weights(tmp_path):
    theirs = folder(tmp_path, 'dinov2', transformers.Dinov2Model)
    model = MODELS.build(dict(type='CAMClassifier', backbone=dict(type='HFBackbone', model=str(tmp_path)),
                              cam_head=dict(type='CAMHead', in_channels=16, num_classes=3)))
    model.init_weights()
    assert torch.equal(model.backbone.model.layernorm.weight, theirs.layernorm.weight)


@pytest.mark.parametrize('kwargs, message', [
    (dict(), 'give a model'),
    (dict(config=dict(hidden_size=3)), "model_type=None"),
    (dict(config=dict(model_type='vit', hidden=3)), 'config.hidden is no setting of ViTConfig'),
    (dict(config=CONFIGS['vit'], out_indices=(4,)), 'stem, stage1, stage2, stage3'),
    (dict(config=CONFIGS['vit'], out_indices=(2, 1)), 'increasing'),
    (dict(config=CONFIGS['vit'], out_indices=()), 'increasing'),
    (dict(config=CONFIGS['vit'], fit='crop'), 'fit is one of'),
    (dict(config=CONFIGS['vit'], size_divisor=12), 'no multiple of the patch size 8'),
    (dict(config=CONFIGS['vit'], attention_blocks=4), 'attention_blocks=4'),
    (dict(config=CONFIGS['vit'], project=True), 'for CLIP'),
    (dict(config=CONFIGS['vit'], pretrained=True), 'needs a model'),
    (dict(config=CONFIGS['vit'], frozen_stages=9), 'frozen_stages=9'),
    (dict(config=CONFIGS['vit'], out_strides=(4, 8)), 'out_strides=.4, 8.'),
    (dict(config=CONFIGS['siglip'], num_class_tokens=2), 'SigLIP'),
    (dict(config=CONFIGS['swin'], attention_blocks=1), "not for 'swin'"),
    (dict(config=dict(model_type='bert')), "'bert' cannot be used as a backbone"),
    (dict(model='/nowhere/at/all'), '/nowhere/at/all: no such folder')])
def test_mistakes(kwargs, message):
    with pytest.raises(UserError, match=message):
        MODELS.build(dict(type='HFBackbone', **kwargs))


def test_stages_by_name_and_from_the_end():
    assert build('swin', out_indices=('stage2', 'stage4')).out_indices == (2, 4)
    assert build('vit', out_indices=(-2, -1)).out_indices == (2, 3)
    assert len(build('vit', out_indices=(2,)).model.layers) == 2  # blocks after the last one are not built


def test_sizes():
    images = torch.randn(1, 3, 30, 45)
    assert fit_size(images, 1, 'resize') is images
    assert fit_size(images, 16, 'resize').shape[-2:] == (32, 48)
    assert fit_size(images[..., :3, :3], 14, 'resize').shape[-2:] == (14, 14)
    assert torch.equal(fit_size(images, 16, 'pad'), F.pad(images, (0, 3, 0, 2)))
    with pytest.raises(ValueError, match='fit is one of'):
        fit_size(images, 16, 'Pad')
    maps = build('vit', fit='pad')(torch.randn(1, 3, 33, 33))
    assert isinstance(maps, FeatureMaps) and maps[0].shape[-2:] == (5, 5)


@torch.no_grad()
def test_images_are_resized_for_convolutions_without_padding():
    model, seen = build('convnext', out_indices=(4,)).eval(), []
    model.model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(torch.ones(1, 3, 60, 90))
    assert seen[0].shape == (1, 3, 64, 96) and torch.allclose(seen[0], torch.ones(1), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('kind', ['vit', 'convnext'])
def test_out_strides_make_a_pyramid(kind):
    images = torch.randn(1, 3, 64, 96)
    plain, pyramid = build(kind).eval(), build(kind, out_strides=(4, 8, 16)).eval()
    maps = pyramid(images)
    assert [tuple(m.shape[-2:]) for m in maps] == [(16, 24), (8, 12), (4, 6)]
    for one, other in zip(plain(images), maps):
        expected = F.interpolate(one, size=other.shape[-2:], mode='bilinear', align_corners=False)
        torch.testing.assert_close(other, expected)
    assert [tuple(m.shape[-2:]) for m in pyramid(torch.randn(1, 3, 50, 75))] == [(13, 19), (7, 10), (4, 5)]


def test_copies():
    model = build('vit', attention_blocks=1).eval()
    other = copy.deepcopy(model)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(model(images)[0], other(images)[0])
    with torch.no_grad():
        other.model.layers[0].layernorm_before.weight.add_(1)
    assert not torch.equal(model(images)[0], other(images)[0])
