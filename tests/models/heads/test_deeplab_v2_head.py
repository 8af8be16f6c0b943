import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmwsss.models.heads import DeepLabV2Head
from mmwsss.registry import MODELS


def dilated_conv(x, weight, bias, rate):
    """3x3 convolution by loops over pixels and taps, in float64; zero outside of the map."""
    n, _, height, width = x.shape
    out = bias.double()[None, :, None, None].repeat(n, 1, height, width)
    for y in range(height):
        for column in range(width):
            for i in range(3):
                for j in range(3):
                    yy, xx = y + (i - 1) * rate, column + (j - 1) * rate
                    if 0 <= yy < height and 0 <= xx < width:
                        out[:, :, y, column] += x[:, :, yy, xx].double() @ weight[:, :, i, j].double().T
    return out


@pytest.mark.parametrize(('size', 'dilations'), [((5, 7), (1, 2)), ((9, 4), (2, 3, 5)), ((1, 1), (6, 12, 18, 24))])
def test_logits_are_the_sum_of_the_branches(size, dilations):
    torch.manual_seed(sum(size))
    head = DeepLabV2Head(3, dilations=dilations, num_classes=4).double()
    feats = [None, torch.randn(2, 3, *size, dtype=torch.float64)]
    expected = sum(dilated_conv(feats[1], branch.weight, branch.bias, rate)
                   for branch, rate in zip(head.branches, dilations))
    torch.testing.assert_close(head(feats), expected)


def test_parameters_and_initialisation():
    head = MODELS.build(dict(type='DeepLabV2Head', in_channels=256, num_classes=21))
    torch.manual_seed(0)
    head.init_weights()
    assert [(tuple(b.weight.shape), b.dilation) for b in head.branches] == [
        ((21, 256, 3, 3), (rate, rate)) for rate in (6, 12, 18, 24)]
    assert {name.split('.')[0] for name, _ in head.named_parameters()} == {'branches'}  # no classifier without use
    for branch in head.branches:
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.02) and (branch.bias == 0).all()


def test_dropout_of_channels():
    head = DeepLabV2Head(64, dilations=(1,), num_classes=2, dropout_ratio=0.5)
    x = torch.ones(1, 64, 1, 1)
    torch.manual_seed(0)
    assert not torch.equal(head([x]), head([x]))
    head.eval()
    assert torch.equal(head([x]), head([x]))


@pytest.mark.parametrize('dilations', [(), (0, 1)])
def test_bad_dilations(dilations):
    with pytest.raises(ValueError, match='DeepLabV2Head: dilations'):
        DeepLabV2Head(3, dilations=dilations, num_classes=4)


@pytest.mark.parametrize('head', [
    dict(type='DeepLabV2Head', dilations=(1, 2)),
    dict(type='DeepLabLargeFOVHead', channels=8, dilation=2),
    dict(type='DeepLabLargeFOVHead', channels=8, dilation=2, norm_cfg=dict(type='BN'), hidden_dropout_ratio=0.0),
])
def test_trains_on_a_toy_backbone(head):
    init_default_scope('mmwsss')
    model = MODELS.build(dict(
        type='EncoderDecoder', backbone=dict(type='ResNet38', out_indices=(2,), base_channels=1),
        decode_head=dict(head, in_channels=64, num_classes=3, loss_decode=dict(type='CrossEntropyLoss',
                                                                               avg_non_ignore=True)),
        train_cfg={}, test_cfg=dict(mode='whole')))
    torch.manual_seed(0)
    model.init_weights()
    images = torch.randn(2, 3, 24, 32)
    label = torch.randint(0, 3, (1, 24, 32))
    label[:, :4] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for _ in range(2)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    before = {name: p.clone() for name, p in model.decode_head.named_parameters()}
    losses = []
    for _ in range(2):
        loss = model.loss(images, samples)['decode.loss_ce']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0] < 3
    assert all(not torch.equal(p, before[name]) for name, p in model.decode_head.named_parameters())
