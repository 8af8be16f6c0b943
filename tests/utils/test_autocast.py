import pytest
import torch

from mmwsss.utils.autocast import at_least_float32, is_autocast, no_autocast


def test_is_autocast():
    cpu, meta = torch.device('cpu'), torch.device('meta')
    assert not is_autocast(cpu) and not is_autocast(meta)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert is_autocast(cpu) and not is_autocast(meta)
        with no_autocast(cpu):
            assert not is_autocast(cpu)


def test_full_precision_within_mixed_precision():
    a, b = torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        with no_autocast(a.device):
            assert (a @ a).dtype == torch.float32 and (b @ b).dtype == torch.bfloat16
        assert (a @ a).dtype == torch.bfloat16
    with no_autocast(a.device), no_autocast(torch.device('meta')):
        assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize(('given', 'expected'), [(torch.bfloat16, torch.float32), (torch.float32, torch.float32),
                                                 (torch.float64, torch.float64)])
def test_at_least_float32(given, expected):
    assert at_least_float32(torch.ones(2, dtype=given)).dtype == expected
