import pytest

from mmwsss.cli.arguments import named_path, named_paths
from mmwsss.utils.errors import UserError


def test_named_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a=b').mkdir()
    assert named_path('seam=cams') == ('seam', 'cams') and named_path('cams') == ('cams', 'cams')
    assert named_path('=cams') == ('cams', 'cams') and named_path('a=b') == ('a=b', 'a=b')


def test_named_paths():
    assert list(named_paths(['b', 'a=c', 'd=c']).items()) == [('b', 'b'), ('a', 'c'), ('d', 'c')]
    for words in (['a', 'a'], ['x=a', 'x=b'], ['a', 'a=b']):
        with pytest.raises(UserError, match=r'^[ax]: is given twice; give another NAME=$'):
            named_paths(words)
