"""What of downloads the tests of checkpoints do not show: who is asked, when, and for how long."""
import socket

import pytest
import torch

from mmwsss.engine import checkpoint, download
from mmwsss.utils.errors import UserError


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(download, 'TIMEOUT', 0.2)
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with socket.create_server(('127.0.0.1', 0)) as server:
        url = f'http://127.0.0.1:{server.getsockname()[1]}/a.pth'
        with pytest.raises(UserError, match=rf'{url}: cannot be downloaded \(.*timed out.*\); download it by other'):
            download.fetch(url)
    assert socket.getdefaulttimeout() is None  # others wait as before
    assert not list((tmp_path / 'checkpoints').iterdir())


def test_only_what_lies_on_a_server_is_fetched(tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(checkpoint, 'fetch', lambda url, advice: fetched.append(url))
    for name in (str(tmp_path / 'a.pth'), 'package://some_package/a.pth', 's3://bucket/a.pth'):
        checkpoint.fetch_checkpoint(name)
    assert fetched == []
    checkpoint.fetch_checkpoint('https://example.org/a.pth')
    checkpoint.fetch_checkpoint('open-mmlab://detectron2/resnet101_caffe')
    assert fetched[0] == 'https://example.org/a.pth'
    assert fetched[1].startswith('https://') and 'resnet101_msra' in fetched[1]
    with pytest.raises(UserError, match='open-mmlab has no such model'):
        checkpoint.fetch_checkpoint('open-mmlab://nothing')
