import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.affinity.edge_head import EdgeHead, conv_group_norm


def feats(sizes, channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, c, *size, generator=generator) for c, size in zip(channels, sizes))


def test_conv_group_norm_does_not_depend_on_the_batch():
    layer = conv_group_norm(3, 4, 2)
    x = torch.randn(3, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    maps = F.conv2d(x, layer[0].weight).reshape(3, 2, -1)
    expected = (maps - maps.mean(-1, True)) / (maps.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x), expected.view(3, 4, 5, 4), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))
    assert layer[0].bias is None


def test_equals_its_definition():
    """Maps are enlarged before they are rectified, and cropped to the first."""
    head = EdgeHead(in_channels=(3, 5, 4), in_indices=(0, 2, 3), factors=(1, 2, 4), channels=4, num_groups=2)
    maps = feats([(5, 7), (9, 9), (3, 4), (2, 2)], (3, 8, 5, 4))
    parts = [head.branches[0](maps[0])]
    for branch, feat, factor in zip(head.branches[1:], (maps[2], maps[3]), (2, 4)):
        size = [factor * side for side in feat.shape[2:]]
        parts.append(F.interpolate(branch(feat), size, mode='bilinear', align_corners=False)[..., :5, :7])
    expected = F.conv2d(torch.cat(parts, dim=1).relu(), head.conv_edge.weight, head.conv_edge.bias)
    logits = head(maps)
    assert logits.shape == (2, 1, 5, 7)
    torch.testing.assert_close(logits, expected)


def test_defaults_are_those_of_the_paper():
    head = EdgeHead()
    assert [branch[0].weight.shape[:2] for branch in head.branches] == [(32, c) for c in (64, 256, 512, 1024, 2048)]
    assert all(branch[1].num_groups == 4 for branch in head.branches) and head.conv_edge.weight.shape[:2] == (1, 160)
    assert head.factors == (1, 1, 2, 4, 4) and head.in_indices == (0, 1, 2, 3, 4) and head.conv_edge.bias is not None


@pytest.mark.parametrize('arguments', [
    dict(in_channels=(3, 4)), dict(in_indices=(0, 1)), dict(factors=(1, 2)), dict(factors=(2, 2, 2, 4, 4)),
    dict(in_channels=(), factors=())])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match='EdgeHead: in_channels, factors'):
        EdgeHead(**arguments)
