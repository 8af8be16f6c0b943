"""The semantic encoder against loops, and what trains what."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import LabelData
from slam_toy import encoder_config, samples, toy_encoder

from mmwsss.models.classifiers import semantic_encoder
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

LABELS = [[1, 0, 1], [0, 1, 0]]


def images(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.5


def slow_similarity(encoder, inputs):
    """Position by position and category by category, in float64."""
    feats = encoder.backbone(inputs)[-1].double()
    weight = encoder.embed.weight.double()[:, :, 0, 0]
    bias = 0 if encoder.embed.bias is None else encoder.embed.bias.double()
    result = []
    for image in feats:
        sums = torch.zeros(encoder.num_classes + 1, encoder.embed_channels, dtype=torch.float64)
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                sums += (weight @ image[:, y, x] + bias).clamp(min=0).reshape(sums.shape)
        semantics = encoder.semantics.weight.double().clamp(min=0)
        result.append(torch.stack([a @ b / (a.norm() * b.norm()) for a, b in zip(sums, semantics)]))
    return torch.stack(result)


@pytest.mark.parametrize('size', [(9, 7), (2, 12)])
def test_similarity_equals_loops(size):
    encoder, inputs = toy_encoder(embed_bias=size[0] > 5), images(2, 3, *size)
    found = encoder(inputs)
    torch.testing.assert_close(found.double(), slow_similarity(encoder, inputs), rtol=1e-4, atol=1e-5)
    assert found.shape == (2, 4) and found.min() >= 0 and found.max() <= 1.0001


def test_loss():
    encoder, inputs = toy_encoder(), images(2, 3, 8, 8)
    losses = encoder(inputs, samples(LABELS), mode='loss')
    similarity = slow_similarity(encoder, inputs)
    present = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 0]]).double()
    expected = F.binary_cross_entropy(similarity.clamp(1e-4, 1 - 1e-4), present)
    torch.testing.assert_close(losses['loss_semantic'].double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses['similarity_present'].double(), similarity[present > 0].mean(), rtol=1e-4,
                               atol=1e-5)
    torch.testing.assert_close(losses['similarity_absent'].double(), similarity[present == 0].mean(), rtol=1e-4,
                               atol=1e-5)
    assert not losses['similarity_present'].requires_grad and 'loss_reconstruction' not in losses


def test_masked_and_blank_images(monkeypatch):
    masks = (torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    monkeypatch.setattr(semantic_encoder, 'random_masks', lambda inputs: masks)
    encoder, inputs = toy_encoder(mask_prob=1.0, blank_images=3), images(2, 3, 8, 8)
    found = encoder(inputs, samples(LABELS), mode='loss')['loss_semantic']
    shown = torch.cat([inputs * masks, torch.zeros(3, 3, 8, 8)])
    present = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 0], *[[0] * 4] * 3]).double()
    similarity = slow_similarity(encoder, shown).nan_to_num()
    expected = F.binary_cross_entropy(similarity.clamp(1e-4, 1 - 1e-4), present)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_random_masks():
    torch.manual_seed(0)
    masks = semantic_encoder.random_masks(torch.zeros(200, 3, 20, 30))
    assert masks.shape == (200, 1, 20, 30) and set(masks.unique().tolist()) == {0, 1}
    assert 0.5 < masks.mean() < 0.7 and masks.mean(dim=(1, 2, 3)).std() > 0.05
    changes = (masks[..., 1:] != masks[..., :-1]).float().mean()
    assert changes < 0.1  # smooth outlines


def test_semantics_learn_from_images_that_show_them():
    encoder = toy_encoder()
    for parameter in (encoder.semantics.weight, encoder.embed.weight):
        parameter.data.abs_()  # nothing that the rectifiers would cut off
    encoder(images(2, 3, 8, 8), samples([[1, 0, 0], [0, 0, 1]]), mode='loss')['loss_semantic'].backward()
    moved = encoder.semantics.weight.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [True, True, False, True]
    # The embeddings of a category learn from images without it, too.
    assert (encoder.embed.weight.grad.flatten(1).unflatten(0, (4, 5)).abs().sum(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize('size', [(8, 8), (7, 10)])
def test_reconstruction(size):
    encoder, inputs = toy_encoder(reconstruction_weight=0.5), images(2, 3, *size)
    losses = encoder(inputs, samples(LABELS), mode='loss')
    positions = encoder.embed_positions(inputs)
    decoded = torch.einsum('kc,nchw->nkhw', encoder.decode.weight[:, :, 0, 0],
                           positions) + encoder.decode.bias[:, None, None]
    height, width = positions.shape[2:]
    restored = torch.zeros(2, 3, 2 * height, 2 * width)
    for channel in range(3):
        for dy in range(2):
            for dx in range(2):
                restored[:, channel, dy::2, dx::2] = decoded[:, 4 * channel + 2 * dy + dx]
    restored = F.interpolate(restored, size, mode='bilinear')
    torch.testing.assert_close(losses['loss_reconstruction'], 0.5 * (restored - inputs).square().mean())
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_prediction():
    encoder, inputs = toy_encoder(), images(2, 3, 8, 8)
    for given in (samples(LABELS), None):
        for sample, score in zip(encoder(inputs, given, mode='predict'), encoder(inputs)):
            assert isinstance(sample.pred_img_label, LabelData)
            assert torch.equal(sample.pred_img_label.score, score[1:])
            assert sample.pred_img_label.label.tolist() == [k for k in range(3) if score[k + 1] > 0.5]
    with pytest.raises(ValueError, match='mode'):
        encoder(inputs, mode='train')
    unlabelled = samples(LABELS)
    del unlabelled[1].gt_img_label
    with pytest.raises(UserError, match=r'photo\.jpg'):
        encoder(inputs, unlabelled, mode='loss')


@pytest.mark.parametrize('kwargs', [dict(num_classes=None), dict(num_classes=0), dict(patch_size=0),
                                    dict(mask_prob=1.5), dict(blank_images=-1),
                                    dict(reconstruction_weight=-1.0)])
def test_settings_that_make_no_sense(kwargs):
    with pytest.raises(ValueError, match='SemanticEncoder'):
        MODELS.build(encoder_config(**kwargs))
