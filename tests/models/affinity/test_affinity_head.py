import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.affinity.affinity_head import AffinityHead


def feats(*sizes, channels=(3, 5, 7)):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, c, *size, generator=generator) for c, size in zip(channels, sizes))


def test_equals_its_definition():
    head = AffinityHead(in_channels=(3, 7), in_indices=(0, 2), reduced_channels=(2, 4), channels=5)
    maps = feats((4, 6), (9, 9), (4, 6))

    def conv(layer, x):
        return F.elu(torch.einsum('oc,nchw->nohw', layer.weight[:, :, 0, 0], x))

    joined = torch.cat([conv(head.reduce[0], maps[0]), conv(head.reduce[1], maps[2])], dim=1)
    torch.testing.assert_close(head(maps), conv(head.embed, joined))
    assert {name for name, _ in head.named_parameters()} == {'reduce.0.weight', 'reduce.1.weight', 'embed.weight'}


def test_coarser_maps_are_resized_to_the_first():
    head = AffinityHead(in_channels=(3, 5), in_indices=(0, 1), reduced_channels=(2, 2))
    maps = feats((5, 7), (3, 4))
    reduced = F.interpolate(F.elu(head.reduce[1](maps[1])), size=(5, 7), mode='bilinear', align_corners=False)
    expected = F.elu(head.embed(torch.cat([F.elu(head.reduce[0](maps[0])), reduced], dim=1)))
    torch.testing.assert_close(head(maps), expected)


def test_defaults_are_those_of_the_paper():
    head = AffinityHead()
    assert [tuple(p.shape[:2]) for p in head.parameters()] == [(64, 512), (128, 1024), (256, 4096), (448, 448)]


def test_initialisation():
    head = AffinityHead(in_channels=(64, 128), in_indices=(0, 1), reduced_channels=(256, 256))
    torch.manual_seed(0)
    head.init_weights()
    for conv, width in zip(head.reduce, (64, 128)):
        assert conv.weight.std().item() == pytest.approx((2 / width)**0.5, rel=0.05)
    bound = 4 * (6 / 1024)**0.5  # Xavier, uniform, with a gain of 4
    assert 0.99 * bound < head.embed.weight.abs().max() <= bound
    assert head.embed.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    other = AffinityHead(init_cfg=dict(type='Constant', val=0.25, layer='Conv2d'))
    other.init_weights()
    assert all((parameter == 0.25).all() for parameter in other.parameters())


def test_full_precision_under_autocast():
    head = AffinityHead(in_channels=(3,), in_indices=(0,), reduced_channels=(4,))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        embedding = head(feats((4, 4)))
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding, head(feats((4, 4))), rtol=0.05, atol=0.05)
    # The last layer is not rounded: of inputs that bfloat16 holds it makes what it makes without autocast.
    head.reduce = torch.nn.ModuleList([torch.nn.Identity()])
    head.embed = torch.nn.Conv2d(3, 4, 1, bias=False)
    maps = [torch.rand(2, 3, 4, 4).bfloat16().float()]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        embedding = head(maps)
    assert torch.equal(embedding, head(maps))


@pytest.mark.parametrize('arguments', [dict(in_channels=(3, 4)), dict(in_indices=(0, 1)), dict(reduced_channels=(3,)),
                                       dict(in_channels=(), in_indices=(), reduced_channels=())])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match='AffinityHead: in_channels, in_indices and reduced_channels'):
        AffinityHead(**arguments)
