import pytest
import torch
from torch import nn

from mmwsss.models.backbones.base_backbone import StagedBackbone, check_out_indices
from mmwsss.utils.errors import UserError


class TwoStages(StagedBackbone):

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
        self.second = nn.Sequential(nn.Conv2d(2, 2, 1), nn.SyncBatchNorm(2), nn.Dropout())
        self.freeze()

    def stages(self):
        return [[self.first], [self.second]]


@pytest.mark.parametrize('frozen_stages, norm_eval, norm_frozen', [
    (stages, eval_, frozen) for stages in (0, 1, 2) for eval_ in (False, True) for frozen in (False, True)])
def test_freeze(frozen_stages, norm_eval, norm_frozen):
    model = TwoStages(frozen_stages=frozen_stages, norm_eval=norm_eval, norm_frozen=norm_frozen)
    for _ in range(2):
        for number, stage in enumerate((model.first, model.second), 1):
            conv, norm, dropout = stage
            frozen = number <= frozen_stages
            assert dropout.training is not frozen
            assert conv.weight.requires_grad is conv.bias.requires_grad is not frozen
            assert norm.training is not (frozen or norm_eval)
            assert norm.weight.requires_grad is norm.bias.requires_grad is not (frozen or norm_frozen)
        assert model.eval() is model
        assert not any(module.training for module in model.modules())
        assert model.train() is model


def test_train_of_the_whole_model_reaches_it():
    model = nn.Sequential(TwoStages(frozen_stages=1), nn.Dropout())
    model.train()
    assert not model[0].first[2].training and model[0].second[2].training and model[1].training


@pytest.mark.parametrize('frozen_stages', [-1, 3])
def test_no_such_stage(frozen_stages):
    with pytest.raises(UserError, match=f'frozen_stages={frozen_stages}'):
        TwoStages(frozen_stages=frozen_stages)


def test_stages_must_be_given():
    with pytest.raises(TypeError, match=r'abstract.*stages'):
        StagedBackbone()


def test_check_out_indices():
    assert check_out_indices('X', [0, 2], 3) == (0, 2)
    assert check_out_indices('X', (), 3) == ()
    for wrong in ((3,), (-1,), (1, 1), (2, 0)):
        with pytest.raises(UserError, match='X: out_indices'):
            check_out_indices('X', wrong, 3)


def test_gradients_stop_at_frozen_stages():
    model = TwoStages(frozen_stages=1, norm_eval=True)
    model.second(model.first(torch.rand(1, 3, 2, 2))).sum().backward()
    assert model.first[0].weight.grad is None and model.second[0].weight.grad is not None
