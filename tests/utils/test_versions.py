import re
import sys
from types import ModuleType

import pytest

from mmwsss.utils import versions
from mmwsss.utils.versions import check_stack, parse_version


@pytest.mark.parametrize('text, expected', [
    ('2.1.0', (2, 1, 0)), ('2.1', (2, 1, 0)), ('3', (3, 0, 0)), ('2.1.0rc1', (2, 1, 0)), ('2.13.0+cpu', (2, 13, 0)),
    ('0.10.12.post1', (0, 10, 12)), ('2.1.0+cu118', (2, 1, 0))])
def test_parse_version(text, expected):
    assert parse_version(text) == expected


def test_installed_stack():
    check_stack()
    assert set(versions.SUPPORTED) == {'mmengine', 'mmcv', 'mmseg'}


@pytest.fixture
def module(monkeypatch):

    def install(version):
        fake = ModuleType('fakemm')
        fake.__version__ = version
        monkeypatch.setitem(sys.modules, 'fakemm', fake)

    return install


@pytest.mark.parametrize('version', ['1.2.0', '1.9.99', '1.2.0+cpu', '1.3.0rc1'])
def test_supported(module, version):
    module(version)
    check_stack(dict(fakemm=((1, 2, 0), (2, 0, 0))))


@pytest.mark.parametrize('version', ['1.1.99', '2.0.0', '2.0.0rc1', '0.9', '10.0.0'])
def test_unsupported(module, version):
    module(version)
    with pytest.raises(ImportError, match=rf'fakemm >= 1\.2\.0, < 2\.0\.0, found {re.escape(version)}.*pip install'):
        check_stack(dict(fakemm=((1, 2, 0), (2, 0, 0))))


def test_missing():
    with pytest.raises(ImportError, match=r'needs no_such_mm, which cannot be imported.*pip install') as error:
        check_stack(dict(no_such_mm=((1, 0, 0), (2, 0, 0))))
    assert isinstance(error.value.__cause__, ImportError)
