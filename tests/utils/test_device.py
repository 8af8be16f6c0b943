import pytest
import torch

from mmwsss.utils.device import find_device
from mmwsss.utils.errors import UserError


def test_devices(monkeypatch):
    assert find_device('cpu') == find_device(torch.device('cpu')) == torch.device('cpu')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert find_device() == torch.device('cpu')


@pytest.mark.parametrize(('device', 'message'), [
    ('foo', "^device 'foo': cannot be used here .*; name another"),
    ('cuda:97', "^device 'cuda:97': cannot be used here"),
    ('meta', "^device 'meta': holds shapes"), (torch.device('meta'), 'meta'), ('hpu', 'cannot be used here'),
    ('', "^device '': cannot be used here")])
def test_devices_that_are_none(device, message):
    with pytest.raises(UserError, match=message) as caught:
        find_device(device)
    assert '\n' not in str(caught.value)
