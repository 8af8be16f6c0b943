import pytest
import torch
from torch import nn

from mmwsss.utils.autocast import autocast, no_autocast
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


def test_full_precision_within_mixed_precision():
    a, b = torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        with no_autocast(a.device):
            assert (a @ a).dtype == torch.float32 and (b @ b).dtype == torch.bfloat16
        assert (a @ a).dtype == torch.bfloat16
    with no_autocast(a.device), no_autocast(torch.device('meta')):
        assert (a @ a).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_gpu(dtype):
    model = nn.Linear(2, 2).cuda()
    with autocast(model, dtype):
        assert model(torch.ones(1, 2, device='cuda')).dtype == getattr(torch, dtype)
