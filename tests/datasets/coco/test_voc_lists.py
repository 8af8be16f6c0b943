import pytest

from mmwsss.datasets.coco.voc_lists import classes_to_write, listed_name
from mmwsss.datasets.layout import load_classes, read_split, stem_of
from mmwsss.utils.errors import UserError


def test_classes_read_back(tmp_path):
    classes = classes_to_write(tmp_path, [' dog ', '__ignore__', 'Ba\u0308r', 'traffic light'], 'source')
    assert classes == ('dog', 'B\u00e4r', 'traffic light')
    (tmp_path / 'classes.txt').write_text(''.join(f'{name}\n' for name in classes))
    assert load_classes(tmp_path) == classes_to_write(tmp_path, ['something else'], 'source') == classes


@pytest.mark.parametrize('names, message', [
    (['dog', '#1'], "class '#1' cannot stand in classes.txt"), (['two\nlines'], 'cannot stand'),
    ([' '], 'cannot stand'), ([], 'names no class'), (['_background_'], 'names no class'),
    (['dog', 'void'], '"void" is no foreground class'),
    (['Background'], 'is no foreground class'), (['B\u00e4r', 'Ba\u0308r'], 'is listed twice')])
def test_classes_that_do_not(tmp_path, names, message):
    with pytest.raises(UserError, match=f'^my annotations: .*{message}'):
        classes_to_write(tmp_path, names, 'my annotations')


@pytest.mark.parametrize('stem', ['a', 'a.b', 'shot.png', 'sp ace ', ' a', '.jpg', 'a b', '#1'])
def test_image_names_read_back(tmp_path, stem):
    name = listed_name(stem)
    assert stem_of(name.strip()) == stem
    (tmp_path / 'list.txt').write_text(f'{name}\n')
    assert read_split(tmp_path, 'list.txt') == [stem]
    assert (name == stem) == (stem in ('a', 'a.b', 'a b', '#1'))


def test_image_name_of_two_lines():
    with pytest.raises(UserError, match=r"'a\\nb': an image of this name cannot stand in a list"):
        listed_name('a\nb')
