import pytest

from mmwsss.structures.image_file import read_image
from mmwsss.utils.errors import UserError
from mmwsss.visualization.plot import FORMATS, check_plot, plot


@pytest.mark.parametrize('suffix', FORMATS)
def test_a_figure_is_written_into_a_new_folder(tmp_path, suffix):
    path = tmp_path / f'new/a{suffix}'
    with plot(path, 2, 1) as figure:
        figure.add_subplot().plot([0, 1])
    assert path.stat().st_size > 0
    if suffix == '.png':
        assert read_image(path).shape == (120, 240, 3)


def test_nothing_is_written_of_a_drawing_that_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), plot(tmp_path / 'new/a.png', 2, 1):
        raise ZeroDivisionError
    assert not any(tmp_path.iterdir())
    with pytest.raises(UserError, match='change the suffix'), plot(tmp_path / 'a.gif', 2, 1):
        pytest.fail('was drawn')
    assert not any(tmp_path.iterdir())


def test_names_that_cannot_be_written(tmp_path):
    (tmp_path / 'folder.png').mkdir()
    for name, message in (('a.bmp', 'change the suffix'), ('folder.png', 'is a folder')):
        with pytest.raises(UserError, match=message):
            check_plot(tmp_path / name)
    check_plot(tmp_path / 'new/A.PNG')
    assert not (tmp_path / 'new').exists()
