import pytest

from mmwsss.experiments.comparison.compare_dirs import merge_orders, parse_sources, shortest_names
from mmwsss.utils.errors import UserError


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ('seam_seed0', 'seam_seed1', 'base', 'lr=0.1', 'a,b'):
        (tmp_path / name).mkdir()
    (tmp_path / 'seam_seed2').write_text('a file')
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(('arguments', 'found'), [
    (['base', 'seam_seed0/'], {'base': ['base'], 'seam_seed0': ['seam_seed0']}),
    (['seam=seam_seed*', 'b=base'], {'seam': ['seam_seed0', 'seam_seed1'], 'b': ['base']}),
    (['s=seam_seed1,seam_seed0'], {'s': ['seam_seed1', 'seam_seed0']}),
    (['s=seam_seed1', 'base', 's=seam_seed0'], {'s': ['seam_seed1', 'seam_seed0'], 'base': ['base']}),
    (['a=base', 'b=seam_seed0'], {'a': ['base'], 'b': ['seam_seed0']}),
    (['x=lr=0.1', 'y=a,b'], {'x': ['lr=0.1'], 'y': ['a,b']}), (['lr=0.1'], {'lr=0.1': ['lr=0.1']}),
    (['s=nowhere'], {'s': ['nowhere']})])
def test_arguments_name_folders(folders, arguments, found):
    assert {name: [str(path) for path in paths] for name, paths in parse_sources(arguments).items()} == found


@pytest.mark.parametrize(('arguments', 'word'), [
    (['base', '../{}/base'], 'given twice for base'), (['base', 'base=seam_seed0'], 'called base'),
    (['base=seam_seed0', 'base'], 'called base'), (['s=base', 's=./base'], 'given twice'),
    (['s=base,base'], 'given twice'), (['s=base', 't=./base'], 'given for s too'),
    (['s=base', 'base'], 'for s too'), (['s=seam_seed1', 't=seam*'], 'match more'),
    (['s=nothing*'], 'no folder matches nothing'), (['=base'], 'give it a name'),
    (['s='], 'a folder is missing'), (['s=base,'], 'a folder is missing')])
def test_mistakes_in_arguments(folders, tmp_path, arguments, word):
    with pytest.raises(UserError, match=word):
        parse_sources([argument.format(tmp_path.name) for argument in arguments])


@pytest.mark.parametrize(('paths', 'names'), [
    (['A/run', 'B/run'], ['A/run', 'B/run']), (['A/run', 'B/run', 'C/other'], ['A/run', 'B/run', 'other']),
    (['x/A/run', 'y/A/run', 'B/run/'], ['x/A/run', 'y/A/run', 'B/run']), (['/run', '/A/run'], ['/run', 'A/run']),
    (['run', 'run/run'], ['{}/run', 'run/run']), (['A/run', './A/run'], ['run', 'run']), ([], [])])
def test_equal_names_are_told_apart_by_their_folders(folders, tmp_path, paths, names):
    assert shortest_names(paths) == [name.format(tmp_path.name) for name in names]


def test_folders_of_one_name_are_pipelines_of_their_own(folders):
    assert list(parse_sources(['A/run', 'B/run', 'c=C/run'])) == ['A/run', 'B/run', 'c']


@pytest.mark.parametrize(('orders', 'merged'), [
    ([], ''), (['abc'], 'abc'), (['abd', 'acd'], 'abcd'), (['ac', 'bc', 'ab'], 'abc'), (['bd', 'abcd'], 'abcd'),
    (['ab', 'ba'], 'ab'), (['abc', 'cba', 'cd'], 'abcd'), (['', 'b'], 'b')])
def test_orders_are_kept(orders, merged):
    assert merge_orders(orders) == list(merged)
