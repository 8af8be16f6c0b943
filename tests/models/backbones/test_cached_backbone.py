import pytest
import torch
from mmengine.model import BaseModule

from mmwsss.models.backbones import CachedBackbone
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

calls = []


@MODELS.register_module()
class ToyFrozenBackbone(BaseModule):
    """Two maps, with dropout and BatchNorm that training mode would change; counts the images it computes."""

    def __init__(self, seed=0, scale=1.0, init_cfg=None):
        super().__init__(init_cfg)
        torch.manual_seed(seed)
        self.first, self.norm, self.drop = torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.BatchNorm2d(4), torch.nn.Dropout()
        self.second, self.scale = torch.nn.Conv2d(4, 5, 3, 2, 1), scale

    def forward(self, inputs):
        calls.append(len(inputs))
        first = self.drop(self.norm(self.first(inputs)))
        return first, self.second(first) * self.scale


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


def images(number=3, seed=0):
    return torch.randn(number, 3, 9, 12, generator=torch.Generator().manual_seed(seed))


def cached(folder, **options):
    return MODELS.build(dict(type='CachedBackbone', backbone=dict(type='ToyFrozenBackbone', **options),
                             cache_dir=str(folder)))


def test_features_are_the_backbones_and_computed_once(tmp_path):
    backbone = cached(tmp_path).train()
    feats = backbone(images())
    assert calls == [1, 1, 1] and not any(feat.requires_grad for feat in feats)
    plain = ToyFrozenBackbone().eval()
    for n in range(3):
        with torch.no_grad():
            for ours, theirs in zip(feats, plain(images()[n:n + 1])):
                assert torch.equal(ours[n], theirs[0].half().float())
    calls.clear()
    for order in ([0, 1, 2], [2, 0], [1]):
        again = backbone(images()[order].contiguous(memory_format=torch.channels_last))
        assert all(torch.equal(a, f[order]) for a, f in zip(again, feats))
    # another process, mixed precision
    with torch.autocast('cpu', torch.bfloat16):
        again = cached(tmp_path)(images())
    assert all(torch.equal(a, f) for a, f in zip(again, feats)) and calls == []
    backbone(images(seed=1))
    assert calls == [1, 1, 1]


def test_other_weights_have_other_features(tmp_path):
    backbone = cached(tmp_path)
    before = backbone(images())
    weights = cached(tmp_path / 'other', seed=1).state_dict()
    backbone.load_state_dict(weights)
    after = backbone(images())
    assert calls == [1] * 6 and not torch.equal(before[0], after[0])
    calls.clear()
    same = cached(tmp_path)
    same.load_state_dict(weights)
    assert torch.equal(same(images())[0], after[0]) and calls == []
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_of_it_is_trained(tmp_path):
    model = torch.nn.Sequential(cached(tmp_path)).train()
    assert model[0].training and not any(module.training for module in model[0].backbone.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    head = torch.nn.Conv2d(5, 2, 1)
    head(model(images())[1]).sum().backward()
    assert head.weight.grad.abs().sum() > 0


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r'backbone\.init_cfg'):
        CachedBackbone(dict(type='ToyFrozenBackbone'), tmp_path, init_cfg=dict(type='Pretrained', checkpoint='a'))
    with pytest.raises(UserError, match='half precision cannot hold'):
        cached(tmp_path, scale=1e8)(images())
