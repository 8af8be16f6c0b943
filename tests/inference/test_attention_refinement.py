import numpy as np
import pytest
import torch

from mmwsss.inference import AttentionRefinement, attention_affinity, compose, propagate
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import AttentionMaps, CAMOutput
from mmwsss.utils.errors import UserError

GRID, SPECIAL = (3, 4), 2


def attentions(blocks=3, images=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = SPECIAL + GRID[0] * GRID[1]
    return AttentionMaps(tuple(torch.rand(images, tokens, tokens, generator=generator).softmax(dim=-1)
                               for _ in range(blocks)), GRID)


def cam_function(att, size=GRID, classes=3):
    cam = torch.rand(2, classes, *size, generator=torch.Generator().manual_seed(1))
    return lambda inputs, labels: CAMOutput(cam, torch.zeros(2, classes), {'0': torch.zeros(2, 5, *GRID)}, att)


def slow(cam, att, blocks, times, sinkhorn, symmetric, class_token):
    """The definition, patch by patch in float64."""
    result = np.zeros(cam.shape)
    length = GRID[0] * GRID[1]
    for n in range(cam.shape[0]):
        used = [b[n].double().numpy() for b in att.blocks[-blocks:]]
        mean = sum(used) / len(used)
        a = mean[SPECIAL:, SPECIAL:].copy()
        for _ in range(max(sinkhorn, 1)):
            if sinkhorn:
                for j in range(length):
                    a[:, j] /= a[:, j].sum()
            for i in range(length):
                a[i] /= a[i].sum()
        if symmetric:
            a = (a + a.T) / 2
        for c in range(cam.shape[1]):
            values = cam[n, c].double().numpy().reshape(-1).copy()
            if class_token:
                values *= mean[0, SPECIAL:] / mean[0, SPECIAL:].max()
            for _ in range(times):
                values = np.array([sum(a[i, j] * values[j] for j in range(length)) for i in range(length)])
            result[n, c] = values.reshape(GRID)
    return result


@pytest.mark.parametrize('blocks, times, sinkhorn, symmetric, class_token', [
    (3, 1, 0, False, False), (1, 2, 0, False, True), (2, 0, 0, False, True), (2, 2, 3, True, False),
    (3, 1, 1, False, False)])
def test_equals_the_definition(blocks, times, sinkhorn, symmetric, class_token):
    att = attentions()
    hook = INFERENCE_HOOKS.build(dict(type='AttentionRefinement', blocks=blocks, times=times, sinkhorn=sinkhorn,
                                      symmetric=symmetric, class_token=class_token))
    function = cam_function(att)
    output = hook(function, torch.zeros(2, 3, 24, 32), None)
    expected = slow(function(None, None).cam, att, blocks, times, sinkhorn, symmetric, class_token)
    np.testing.assert_allclose(output.cam.numpy(), expected, rtol=1e-4, atol=1e-6)
    assert output.attentions is att and set(output.feats) == {'0'}


def test_affinity_is_a_mean_over_patches():
    affinity = attention_affinity(attentions().patch_to_patch())
    torch.testing.assert_close(affinity.sum(dim=2), torch.ones(2, 12))
    constant = torch.full((2, 1, *GRID), 0.3)
    torch.testing.assert_close(propagate(constant, affinity, 3), constant)
    doubly = attention_affinity(attentions().patch_to_patch(), sinkhorn=50)
    torch.testing.assert_close(doubly.sum(dim=1), torch.ones(2, 12))


def test_propagation_is_exact_under_autocast():
    affinity = attention_affinity(attentions().patch_to_patch())
    cam = torch.rand(2, 3, *GRID)
    with torch.autocast('cpu', torch.bfloat16):
        found = propagate(cam, affinity, 2)
    assert torch.equal(found, propagate(cam, affinity, 2))


def test_blocks_of_attention():
    """Patches that look at each other share their CAM; others keep theirs."""
    weights = torch.eye(14)[None]
    weights[0, 2:4, 2:4] = 0.5
    cam = torch.zeros(1, 1, *GRID)
    cam[0, 0, 0, 0] = cam[0, 0, 2, 3] = 1
    output = AttentionRefinement()(lambda *args: CAMOutput(cam, torch.zeros(1, 1), {},
                                                           AttentionMaps((weights,), GRID)), None, None)
    assert output.cam[0, 0, 0].tolist() == [0.5, 0.5, 0, 0] and output.cam[0, 0, 2].tolist() == [0, 0, 0, 1]


def test_cam_of_another_size_goes_to_the_grid():
    output = AttentionRefinement()(cam_function(attentions(), size=(6, 8)), None, None)
    assert output.cam.shape == (2, 3, *GRID)
    assert AttentionRefinement()(cam_function(attentions(), classes=0), None, None).cam.shape == (2, 0, *GRID)


def test_needs_attention():
    with pytest.raises(UserError, match='comes without attention'):
        AttentionRefinement()(cam_function(None), None, None)
    with pytest.raises(UserError, match='blocks=4'):
        AttentionRefinement(blocks=4)(cam_function(attentions()), None, None)
    inner = dict(type='AttentionRefinement')
    function = compose(cam_function(attentions()), [inner, dict(type='SSA', stages='0', num_blocks=1)])
    assert function(torch.zeros(2, 3, 24, 32), None).attentions is not None  # other hooks hand it on
    patches_only = AttentionMaps((torch.rand(2, 12, 12),), GRID)
    with pytest.raises(UserError, match='no class token'):
        AttentionRefinement(class_token=True)(cam_function(patches_only), None, None)


@pytest.mark.parametrize('kwargs', [dict(blocks=0), dict(times=-1), dict(sinkhorn=-1), dict(times=0)])
def test_mistakes(kwargs):
    with pytest.raises(ValueError, match='AttentionRefinement'):
        AttentionRefinement(**kwargs)
