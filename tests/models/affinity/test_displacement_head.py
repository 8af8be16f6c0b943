import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.affinity.displacement_head import DisplacementHead

SIZES = [(9, 11), (9, 11), (5, 6), (3, 3), (3, 3)]


def small(**kwargs):
    torch.manual_seed(0)
    return DisplacementHead(**{**dict(in_channels=(2, 3, 4, 5, 6), channels=(2, 2, 4, 4, 4), num_groups=(1, 2, 2, 4, 2),
                                      joined_channels=4), **kwargs})


def feats(sizes=SIZES, channels=(2, 3, 4, 5, 6)):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(2, c, *size, generator=generator) for c, size in zip(channels, sizes))


def double(maps, size):
    maps = F.interpolate(maps, [2 * side for side in maps.shape[2:]], mode='bilinear', align_corners=False)
    return maps[..., :size[0], :size[1]]


def test_equals_its_definition():
    head, maps = small(), feats()
    first, second, third, fourth, fifth = (branch(feat) for branch, feat in zip(head.branches, maps))
    coarse = torch.cat([third, double(fourth, (5, 6)), double(fifth, (5, 6))], dim=1).relu()
    joined = double(head.join_coarse(coarse), (9, 11)).relu()
    joined = head.join_fine(torch.cat([first.relu(), second.relu(), joined], dim=1)).relu()
    expected = F.conv2d(joined, head.conv_displacement.weight)
    assert expected.shape == (2, 2, 9, 11)
    torch.testing.assert_close(head(maps), expected)


def test_mean_is_taken_off_in_eval_mode_only():
    head, maps = small(), feats()
    head.mean_displacement.copy_(torch.tensor([2.0, -3.0]))
    raw = head.train()(maps)
    assert torch.equal(head.forward_raw(maps), raw) and torch.equal(head.eval().forward_raw(maps), raw)
    torch.testing.assert_close(raw - head(maps), torch.tensor([2.0, -3.0]).view(1, 2, 1, 1).expand_as(raw))
    assert 'mean_displacement' in head.state_dict() and not head.mean_displacement.requires_grad


def test_defaults_are_those_of_the_paper():
    head = DisplacementHead()
    assert [(*branch[0].weight.shape[:2], branch[1].num_groups) for branch in head.branches] == [
        (64, 64, 8), (128, 256, 16), (256, 512, 16), (256, 1024, 16), (256, 2048, 16)]
    assert [(*part[0].weight.shape[:2], part[1].num_groups) for part in (head.join_coarse, head.join_fine)] == [
        (256, 768, 16), (256, 448, 16)]
    assert head.conv_displacement.weight.shape[:2] == (2, 256) and head.conv_displacement.bias is None


def test_other_maps_and_strides():
    head = small(in_indices=(1, 2, 3, 4, 5), factors=(1, 1, 1, 2, 4))
    sizes = [(1, 1), (6, 5), (6, 5), (6, 5), (3, 3), (2, 2)]
    maps = feats(sizes, (9, 2, 3, 4, 5, 6))
    assert head(maps).shape == (2, 2, 6, 5)
    changed = [feat + 1 if i == 0 else feat for i, feat in enumerate(maps)]
    assert torch.equal(head(maps), head(changed))


@pytest.mark.parametrize('arguments, words', [
    (dict(in_channels=(2, 3)), 'of five feature maps'), (dict(num_groups=(1,)), 'of five feature maps'),
    (dict(factors=(1, 2, 2, 4, 4)), 'first two factors'), (dict(factors=(1, 1, 2, 3, 4)), 'multiples of the third')])
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=f'DisplacementHead: .*{words}'):
        small(**arguments)
