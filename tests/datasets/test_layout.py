import os
import re

import pytest

from mmwsss.datasets.layout import (
    IMAGE_EXTENSIONS,
    check_images,
    check_output_dir,
    find_files,
    find_files_anywhere,
    find_label_file,
    find_split,
    load_classes,
    read_split,
    stem_of,
    walk_files,
)
from mmwsss.utils.errors import UserError


@pytest.mark.parametrize('name, stem', [
    ('a.jpg', 'a'), ('a', 'a'), ('x/y/a.PNG', 'a'), ('x\\a.tiff', 'a'), ('a.b', 'a.b'), ('a.b.webp', 'a.b'),
    ('Käse 1.JPEG', 'Käse 1'), ('.jpg', ''), ('a.txt', 'a.txt')])
def test_stem_of(name, stem):
    assert stem_of(name) == stem


def test_find_files_takes_every_image_extension_in_any_case_and_passes_over_hidden_ones(tmp_path):
    for i, extension in enumerate(IMAGE_EXTENSIONS):
        (tmp_path / f'im{i}{extension.upper() if i % 2 else extension}').touch()
    for name in ('.im0.jpg', 'notes.txt', 'no_extension'):
        (tmp_path / name).touch()
    (tmp_path / 'folder.jpg').mkdir()
    assert list(find_files(tmp_path, IMAGE_EXTENSIONS)) == [f'im{i}' for i in range(len(IMAGE_EXTENSIONS))]


def test_find_files_recursive(tmp_path):
    for name in ('b.jpg', 'sub/a.jpg', 'sub/deep/c.png', '.hidden/d.jpg'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'sub/loop').symlink_to(tmp_path, target_is_directory=True)
    found = find_files(tmp_path, IMAGE_EXTENSIONS, recursive=True)
    assert found == {'a': f'{tmp_path}/sub/a.jpg', 'b': f'{tmp_path}/b.jpg', 'c': f'{tmp_path}/sub/deep/c.png'}
    assert list(find_files(tmp_path, IMAGE_EXTENSIONS)) == ['b']


def test_walk_files_has_each_folder_once_and_links_last(tmp_path):
    for name in ('in/b.jpg', 'in/real/a.png', 'in/real/._a.png', 'in/real/notes.txt', 'else/c.jpg', 'else/a.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for link, target in (('a_link', 'in/real'), ('linked', 'else'), ('real/up', 'in')):
        (tmp_path / 'in' / link).symlink_to(tmp_path / target, target_is_directory=True)
    found = walk_files(tmp_path / 'in', IMAGE_EXTENSIONS)
    assert [str(path.relative_to(tmp_path / 'in')) for path in found] == [
        'b.jpg', 'linked/a.png', 'linked/c.jpg', 'real/a.png']


@pytest.mark.parametrize('name', [b'caf\xe9.png', b'caf\xe9/a.png'])
def test_name_that_is_not_utf_8(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, 'wb').close()
    except OSError:
        pytest.skip('this disk has no such names')
    open(os.path.join(os.fsencode(tmp_path), b'notes \xe9.txt'), 'wb').close()  # no image: nothing names it
    message = rf'^{re.escape(str(tmp_path))}/caf\\xe9(\.png)?: its name is not UTF-8; rename it$'
    for call in (walk_files, find_files_anywhere, lambda *args: find_files(*args, recursive=True)):
        with pytest.raises(UserError, match=message):
            call(tmp_path, IMAGE_EXTENSIONS)
    assert find_files(tmp_path, ('.jpg',)) == {}


def test_find_files_names_both_files_of_one_stem(tmp_path):
    (tmp_path / 'a.jpg').touch()
    (tmp_path / 'a.png').touch()
    with pytest.raises(UserError, match=r'a\.png.*a\.jpg.*rename'):
        find_files(tmp_path, IMAGE_EXTENSIONS)


def test_find_files_anywhere_prefers_the_folder_itself(tmp_path):
    for name in ('a.png', 'views/a.png', 'x/b.png', 'c.jpg', '.hidden/d.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_files_anywhere(tmp_path, ('.png',)) == {'a': f'{tmp_path}/a.png', 'b': f'{tmp_path}/x/b.png'}
    assert find_files_anywhere(tmp_path / 'nowhere', ('.png',)) == {}
    (tmp_path / 'views/b.png').touch()
    with pytest.raises(UserError, match=r'x/b\.png.*views/b\.png'):
        find_files_anywhere(tmp_path, ('.png',))


def test_find_files_without_folder(tmp_path):
    with pytest.raises(UserError, match=r'nowhere.*check the path'):
        find_files(tmp_path / 'nowhere', IMAGE_EXTENSIONS)


def test_load_classes_reads_the_file_and_config_wins(tmp_path):
    (tmp_path / 'classes.txt').write_bytes('\ufeffcat\r\n\r\n traffic light \r\nÖtzi'.encode())
    assert load_classes(tmp_path) == ('cat', 'traffic light', 'Ötzi')
    assert load_classes(tmp_path, ['x', 'y']) == ('x', 'y')
    assert load_classes(tmp_path / 'nowhere', ['x']) == ('x',)


@pytest.mark.parametrize('text, message', [
    ('', 'no class name'), ('\n \n', 'no class name'), ('cat\ndog\ncat\n', "'cat' is listed twice"),
    ('Background\ncat\n', 'remove it')])
def test_load_classes_bad_file(tmp_path, text, message):
    (tmp_path / 'classes.txt').write_text(text)
    with pytest.raises(UserError, match=f'{re.escape(str(tmp_path))}/classes.txt: .*{message}'):
        load_classes(tmp_path)


@pytest.mark.parametrize('classes', [[], ['a', 'a'], ['background'], 'cat', ['a', ''], ['a', 3]])
def test_load_classes_bad_config(tmp_path, classes):
    with pytest.raises(UserError, match=r'^classes in the config: '):
        load_classes(tmp_path, classes)


def test_load_classes_without_file_or_not_text(tmp_path):
    for label_file in (None, 'labels.csv'):
        with pytest.raises(UserError, match=rf'^{re.escape(str(tmp_path))}/classes\.txt: no such file; .*--classes'):
            load_classes(tmp_path, label_file=label_file)
    (tmp_path / 'classes.txt').write_bytes(b'caf\xe9\n')
    with pytest.raises(UserError, match=r'classes\.txt: not UTF-8 text'):
        load_classes(tmp_path)


def write_split(root, name, text):
    path = root / 'ImageSets' / f'{name}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize('text, stems', [
    ('b\na\n\nc\n', ['b', 'a', 'c']),
    ('a.jpg\nx/b.png\n', ['a', 'b']),
    ('a\nb\na\n', ['a', 'b']),
    ('2007_000032 -1\n2007_000033  1\n2007_000039  0\n', ['2007_000032', '2007_000033', '2007_000039']),
    ('/JPEGImages/a.jpg /SegmentationClassAug/a.png\n/JPEGImages/b.jpg /SegmentationClassAug/b.png\n', ['a', 'b']),
    ('photo 1\nphoto 2\n', ['photo 1', 'photo 2']),  # not all lines end with a flag
    ('my cat.jpg\n', ['my cat']),
    ('\ufeffa\r\nb\r\n', ['a', 'b'])])
def test_read_split(tmp_path, text, stems):
    write_split(tmp_path, 'train', text)
    assert read_split(tmp_path, 'train') == stems


@pytest.mark.parametrize('text, images, stems', [
    # Two lines begin alike, which VOC's lists do not.
    ('img 0\nimg 1\n', [], ['img 0', 'img 1']),
    ('a 1\na 1\nb -1\n', [], ['a', 'b']),
    # The images tell.
    ('cat 0\ndog 1\n', ['cat 0', 'dog 1'], ['cat 0', 'dog 1']),
    ('cat 0\ndog 1\n', ['sub/dog 1'], ['cat 0', 'dog 1']),
    ('cat 0\ndog 1\n', ['cat', 'dog'], ['cat', 'dog']),
    ('img 1\nimg 2\n', [], ['img 1', 'img 2'])])
@pytest.mark.parametrize('img_dir', ['JPEGImages', 'my images'])
def test_names_with_a_space_are_no_columns(tmp_path, text, images, stems, img_dir):
    write_split(tmp_path, 'train', text)
    for image in images:
        path = tmp_path / img_dir / f'{image}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for folder in (img_dir, tmp_path / img_dir):
        assert read_split(tmp_path, 'train', folder) == stems


@pytest.mark.parametrize('text, stems', [
    ('shot.png\nsp ace \nshot.png.jpg\nb.png\n', ['shot.png', 'sp ace ', 'b']),
    ('shot.png.jpg\nsp ace .jpg\n', ['shot.png', 'sp ace ']),
    ('x/shot.png\ngone.png\na.jpg\na \n', ['shot.png', 'gone', 'a']),
    # The name of a file goes before that of an image without its extension.
    ('a.jpg\na.jpg.png\n', ['a', 'a.jpg'])])
def test_names_that_would_be_cut(tmp_path, text, stems):
    write_split(tmp_path, 'train', text)
    for name in ('shot.png.jpg', 'sub/sp ace .jpg', 'a.jpg', 'a.jpg.png', 'b.png'):
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'images' / name).touch()
    assert read_split(tmp_path, 'train', 'images') == stems


def test_no_split_is_all_images(tmp_path):
    for name in ('b.png', 'sub/a.jpg', 'notes.txt'):
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'images' / name).touch()
    assert read_split(tmp_path, None, 'images') == ['a', 'b']
    with pytest.raises(UserError, match='JPEGImages: there are no images'):
        read_split(tmp_path, None)


def test_split_is_found_in_three_places(tmp_path, monkeypatch):
    write_split(tmp_path, 'Segmentation/val', 'voc\n')
    (tmp_path / 'list.txt').write_text('own\n')
    assert read_split(tmp_path, 'val') == ['voc']
    assert read_split(tmp_path, 'list.txt') == ['own']
    assert read_split(tmp_path, str(tmp_path / 'list.txt')) == ['own']
    write_split(tmp_path, 'val', 'first\n')
    assert read_split(tmp_path, 'val') == ['first']
    monkeypatch.chdir(tmp_path)
    assert find_split(tmp_path / 'ImageSets', 'list.txt').name == 'list.txt'


def test_missing_split_lists_those_that_exist(tmp_path):
    with pytest.raises(UserError, match=r'train\.txt: no such split; there is no split in'):
        read_split(tmp_path, 'train')
    write_split(tmp_path, 'val', 'a\n')
    write_split(tmp_path, 'Segmentation/trainval', 'a\n')
    with pytest.raises(UserError, match=r'train\.txt: no such split; splits here: trainval, val$'):
        read_split(tmp_path, 'train')
    with pytest.raises(UserError, match=r'gone\.txt: no such split'):
        read_split(tmp_path, 'gone.txt')
    with pytest.raises(UserError, match='nowhere: no such folder'):
        read_split(tmp_path / 'nowhere', 'train')


def test_empty_split(tmp_path):
    path = write_split(tmp_path, 'train', '\n  \n')
    with pytest.raises(UserError, match=f'{re.escape(str(path))}: the split is empty'):
        read_split(tmp_path, 'train')


def test_output_goes_elsewhere(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'pictures')
    for out in ('JPEGImages', 'SegmentationClass/sub', '../' + tmp_path.name + '/Saliency'):
        with pytest.raises(UserError, match=f'{out}: is a folder of the data set'):
            check_output_dir(tmp_path / out, tmp_path)
    with pytest.raises(UserError, match='is a folder of the data set'):
        check_output_dir(tmp_path / 'link', tmp_path, 'pictures')
    for out in ('', 'labels', 'JPEGImages2'):
        check_output_dir(tmp_path / out, tmp_path)


def test_split_without_any_image(tmp_path):
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures/a.jpg').touch()
    (tmp_path / 'ImageSets').mkdir()
    (tmp_path / 'ImageSets/some.txt').write_text('zzz\na\n')
    (tmp_path / 'ImageSets/none.txt').write_text('zzz\nyyy\n')
    check_images(tmp_path, 'some', 'pictures')
    with pytest.raises(UserError, match='pictures: has none of the 2 images of split none, such as zzz'):
        check_images(tmp_path, 'none', 'pictures')


COMPOSED, DECOMPOSED = 'caf\u00e9', 'cafe\u0301'


@pytest.mark.parametrize('on_disk, in_list', [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_names_in_either_unicode_form(tmp_path, on_disk, in_list):
    (tmp_path / 'images/sub').mkdir(parents=True)
    (tmp_path / f'images/sub/{on_disk}.jpg').touch()
    (tmp_path / 'list.txt').write_text(f'{in_list}.jpg\n')
    assert read_split(tmp_path, 'list.txt', 'images') == read_split(tmp_path, None, 'images') == [COMPOSED]
    found = {COMPOSED: f'{tmp_path}/images/sub/{on_disk}.jpg'}
    assert find_files(tmp_path / 'images', ('.jpg',), recursive=True) == found
    assert find_files_anywhere(tmp_path / 'images', ('.jpg',)) == found
    check_images(tmp_path, 'list.txt', 'images')
    (tmp_path / f'images/{in_list}.jpg').touch()
    with pytest.raises(UserError, match='has the same name as'):
        find_files(tmp_path / 'images', ('.jpg',), recursive=True)
    assert find_files_anywhere(tmp_path / 'images', ('.jpg',)) == {COMPOSED: f'{tmp_path}/images/{in_list}.jpg'}


def test_class_names_in_either_unicode_form(tmp_path):
    (tmp_path / 'classes.txt').write_text(f'{DECOMPOSED}\ndog\n')
    assert load_classes(tmp_path) == load_classes(tmp_path, [COMPOSED, 'dog']) == (COMPOSED, 'dog')
    with pytest.raises(UserError, match='is listed twice'):
        load_classes(tmp_path, [COMPOSED, DECOMPOSED])


@pytest.mark.parametrize('text, names, said', [
    ('__ignore__\n_background_\nanimal\nplant\n', ('animal', 'plant'), '__ignore__, _background_ are passed over'),
    ('_background_\nanimal\n', ('animal',), '_background_ are passed over'),
    ('# my classes\nanimal\n#plant\ntree\n', ('animal', 'tree'), '2 lines that begin with # are taken for comments')])
def test_lines_that_are_no_classes(tmp_path, monkeypatch, text, names, said):
    messages = []
    monkeypatch.setattr('mmwsss.datasets.layout.print_log', lambda message, *args, **kwargs: messages.append(message))
    (tmp_path / 'classes.txt').write_text(text)
    assert load_classes(tmp_path) == load_classes(tmp_path) == names
    message, = messages  # once
    assert said in message and message.startswith(f'{tmp_path}/classes.txt: ')


@pytest.mark.parametrize('names', [['animal', '_background_'], ['cat', 'Void'], ['ignore'], ['Background', 'cat']])
def test_names_that_are_no_foreground_class(names):
    with pytest.raises(UserError, match='is no foreground class; remove it'):
        load_classes('', names)
    with pytest.raises(UserError, match='no class name in it'):
        load_classes('', ['_background_'])


def test_label_file_is_found(tmp_path):
    assert find_label_file(tmp_path) is None
    (tmp_path / 'annotations').mkdir()
    for name in ('annotations/instances_train.json', 'labels.csv'):
        (tmp_path / name).touch()
        if name == 'labels.csv':
            with pytest.raises(UserError, match=r'has several files .* labels\.csv, instances_train\.json; name one'):
                find_label_file(tmp_path)
        else:
            assert find_label_file(tmp_path) == tmp_path / name
