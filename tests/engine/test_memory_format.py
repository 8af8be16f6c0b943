import torch
from torch import nn

from mmwsss.engine.memory_format import to_channels_last


def test_to_channels_last():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv3d(2, 2, 3), nn.Linear(2, 2))
    model.register_buffer('kernel', torch.randn(2, 3, 4, 5))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    parameters = list(model.parameters())
    assert to_channels_last(model) is model
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
        assert value.is_contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value.is_contiguous()
    assert all(a is b for a, b in zip(model.parameters(), parameters))  # an optimizer still knows them
    pointers = [value.data_ptr() for value in model.state_dict().values()]
    to_channels_last(model)
    assert pointers == [value.data_ptr() for value in model.state_dict().values()]
    assert model[0](torch.randn(1, 3, 8, 8)).is_contiguous(memory_format=torch.channels_last)
