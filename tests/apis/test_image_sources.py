import pytest

from mmwsss.apis.image_sources import list_images
from mmwsss.utils.errors import UserError


def names(folder):
    return [str(path.relative_to(folder)) for path in list_images(folder)]


def test_sub_folders_without_hidden_ones(photographs):
    (photographs / '.hidden').mkdir()
    (photographs / '.hidden/c.png').touch()
    assert names(photographs) == ['a.jpg', 'b.png', 'sub/a.png']


def test_linked_folders(photographs):
    elsewhere = photographs.parent / 'elsewhere'
    elsewhere.mkdir()
    for name in ('z.png', '._z.png'):
        (elsewhere / name).touch()
    (photographs / 'link').symlink_to(elsewhere, target_is_directory=True)
    (photographs / 'sub/loop').symlink_to(photographs, target_is_directory=True)
    assert names(photographs) == ['a.jpg', 'b.png', 'link/z.png', 'sub/a.png']


def test_predictions_are_no_images(photographs):
    for folder in ('labels', 'overlays', 'sub/out/labels', 'sub/labels'):
        (photographs / folder).mkdir(parents=True)
        (photographs / folder / 'a.png').touch()
    for folder in ('.', 'sub/out'):
        (photographs / folder / 'predictions.json').write_text('{}')
    assert names(photographs) == ['a.jpg', 'b.png', 'sub/a.png', 'sub/labels/a.png']
    assert names(photographs / 'labels') == ['a.png']  # which was asked for
    with pytest.raises(UserError, match='holds no images'):
        list_images(photographs / 'sub/out')
