import numpy as np
import pytest
import torch

from mmwsss.models.heads.text_cam_head import read_embeddings, text_similarity
from mmwsss.registry import MODELS
from mmwsss.structures import FeatureMaps
from mmwsss.utils.errors import UserError


@pytest.fixture
def embeddings(tmp_path):
    path = tmp_path / 'texts.npy'
    np.save(path, np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32))
    return str(path)


def build(**kwargs):
    return MODELS.build(dict(type='TextCAMHead', **{'num_classes': 3, **kwargs}))


def test_similarity_equals_the_definition():
    feats, texts = torch.randn(2, 6, 3, 4), torch.randn(5, 6) * 7
    result = text_similarity(feats, texts, 50.0)
    for n, k, y, x in [(0, 0, 0, 0), (1, 4, 2, 3), (0, 2, 1, 3)]:
        a, b = feats[n, :, y, x].double(), texts[k].double()
        assert result[n, k, y, x].item() == pytest.approx(50 * (a @ b / a.norm() / b.norm()).item(), rel=1e-4)


def test_similarity_is_exact_under_autocast():
    feats, texts = torch.randn(2, 6, 3, 4), torch.randn(5, 6)
    exact = text_similarity(feats, texts, 100.0)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(text_similarity(feats, texts, 100.0), exact)


def test_maps_and_scores(embeddings):
    head, feats = build(embeddings=embeddings, scale=5.0), torch.randn(2, 6, 3, 4)
    head.init_weights()  # draws nothing anew
    texts = torch.from_numpy(np.load(embeddings))
    everything = text_similarity(feats, texts, 5.0)
    maps = head((torch.zeros(1), feats))
    torch.testing.assert_close(maps, everything.softmax(dim=1)[:, :3])
    mean = maps.mean(dim=(2, 3))
    torch.testing.assert_close(head.pool(maps).sigmoid(), mean)
    plain = build(embeddings=embeddings, scale=5.0, softmax=False)
    torch.testing.assert_close(plain((feats,)), everything[:, :3])
    torch.testing.assert_close(plain.pool(plain((feats,))), everything[:, :3].mean(dim=(2, 3)))


def test_background_competes(tmp_path):
    """A patch that looks like the background has no class, though of the classes one is nearest."""
    np.save(tmp_path / 'a.npy', np.eye(3, dtype=np.float32))
    np.save(tmp_path / 'b.npy', np.eye(3, dtype=np.float32)[:2])
    feats = (torch.tensor([0.5, 0.1, 1.0])[None, :, None, None],)
    with_background = build(num_classes=2, embeddings=str(tmp_path / 'a.npy'))(feats)
    without = build(num_classes=2, embeddings=str(tmp_path / 'b.npy'))(feats)
    assert with_background[0, 0] < 1e-3 and without[0, 0] > 0.99


def test_token_source(embeddings):
    head = build(embeddings=embeddings, source='token')
    tokens = torch.randn(2, 2, 6, requires_grad=True)
    maps = head(FeatureMaps([torch.randn(2, 9, 3, 4)], tokens=tokens))
    assert maps.shape == (2, 3, 1, 1)
    expected = build(embeddings=embeddings)((tokens[:, 0, :, None, None],))
    torch.testing.assert_close(maps.sigmoid(), expected)
    torch.testing.assert_close(head.pool(maps), maps[:, :, 0, 0])
    head.pool(maps).sum().backward()
    assert tokens.grad[:, 0].abs().sum() > 0 and not tokens.grad[:, 1].any()
    with pytest.raises(UserError, match='gives no class token'):
        head((torch.randn(2, 6, 3, 4),))


def test_only_trained_when_asked_for(embeddings):
    assert not any(p.requires_grad for p in build(embeddings=embeddings).parameters())
    head = build(embeddings=embeddings, trainable=True, scale=5.0)
    head.loss((torch.randn(2, 6, 3, 4),), torch.ones(2, 3))['loss_cls'].backward()
    assert head.conv_cam.weight.grad.abs().sum() > 0


def test_checkpoint_brings_the_embeddings(embeddings):
    trained = build(embeddings=embeddings)
    other = build(in_channels=6, num_background=2)
    other.load_state_dict(trained.state_dict())
    feats = (torch.randn(1, 6, 2, 2),)
    assert torch.equal(trained(feats), other(feats))


def test_mistakes(embeddings, tmp_path):
    for kwargs, message in [
            (dict(embeddings=str(tmp_path / 'none.npy')), 'none.npy: no such file'),
            (dict(embeddings=embeddings, num_classes=6), 'has 5 text embeddings, but there are 6 classes'),
            (dict(embeddings=embeddings, num_background=1), 'has 5 text embeddings'),
            (dict(embeddings=embeddings, in_channels=7), 'have 6 channels, in_channels is 7')]:
        with pytest.raises(UserError, match=message):
            build(**kwargs)
    for kwargs in (dict(), dict(embeddings=embeddings, num_classes=None), dict(embeddings=embeddings, source='x'),
                   dict(num_classes=1, in_channels=6)):
        with pytest.raises(ValueError, match='TextCAMHead'):
            build(**kwargs)
    with pytest.raises(UserError, match='project=True'):
        build(embeddings=embeddings)((torch.randn(1, 5, 2, 2),))


@pytest.mark.parametrize('values', [
    np.zeros((2, 3), np.float32), np.full((2, 3), np.nan), np.ones(3), np.ones((2, 3), int),
    np.array([[object()]], dtype=object)])
def test_files_of_another_kind(tmp_path, values):
    np.save(tmp_path / 'x.npy', values, allow_pickle=True)
    with pytest.raises(UserError, match=r'x\.npy'):
        read_embeddings(tmp_path / 'x.npy')
    (tmp_path / 'x.npy').write_bytes(b'\x93NUMPY')
    with pytest.raises(UserError, match=r'x\.npy'):
        read_embeddings(tmp_path / 'x.npy')
