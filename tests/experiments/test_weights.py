import pytest

from mmwsss.experiments.weights import check_weights_option, parse_weights, weights_for
from mmwsss.utils.errors import UserError


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('a.pth', 'b.pth', 'x=y.pth'):
        (tmp_path / name).touch()


def test_one_file_or_one_for_each():
    assert parse_weights(None) is None and parse_weights([]) is None
    assert parse_weights(['a.pth']) == 'a.pth' and parse_weights(['x=y.pth']) == 'x=y.pth'
    assert parse_weights(['cam=a.pth', 'irnet=x=y.pth']) == dict(cam='a.pth', irnet='x=y.pth')


@pytest.mark.parametrize(('arguments', 'word'), [
    (['a.pth', 'b.pth'], 'one file for all, or CONFIG=FILE'), (['cam=a.pth', 'b.pth'], 'one file for all'),
    (['cam=a.pth', 'cam=b.pth'], 'each CONFIG once'), (['cam='], 'must be CONFIG=FILE'), (['=a'], 'must be CONFIG')])
def test_mistakes_in_arguments(arguments, word):
    with pytest.raises(UserError, match=word):
        parse_weights(arguments)


def test_files_go_to_those_who_are_named():
    known = ['cam', 'segmentor', 'classifier']
    named = check_weights_option(dict(cam='a.pth', classifier='b.pth'), known)
    assert weights_for(named, 'classifier', 'cam') == 'b.pth' and weights_for(named, 'other', 'cam') == 'a.pth'
    assert weights_for(named, 'segmentor') is None
    assert weights_for(check_weights_option('a.pth', known), 'segmentor') == 'a.pth'
    assert check_weights_option(None, known) == {}
    with pytest.raises(UserError, match=r"'segment' is not one of the configs \(closest: 'segmentor'; there are cam"):
        check_weights_option(dict(segment='a.pth'), known)
    for weights in ('gone.pth', dict(cam='gone.pth')):
        with pytest.raises(UserError, match=r'gone\.pth: no such file of weights'):
            check_weights_option(weights, known)
