import pytest
import torch
from torch import nn

from mmwsss.utils.autocast import autocast
from mmwsss.utils.errors import UserError


def test_cpu():
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    with autocast(model, 'bfloat16'):
        assert model(x).dtype == torch.bfloat16
    with autocast(model, None):
        assert model(x).dtype == torch.float32


@pytest.mark.parametrize('dtype', ['float16', 'float64', 'bf16'])
def test_refused(dtype):
    with pytest.raises(UserError, match=dtype) as error:
        autocast(nn.Linear(2, 2), dtype)
    assert '\n' not in str(error.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_gpu(dtype):
    model = nn.Linear(2, 2).cuda()
    with autocast(model, dtype):
        assert model(torch.ones(1, 2, device='cuda')).dtype == getattr(torch, dtype)
