import argparse

import pytest

from mmwsss.cli.data import add_data_arguments, data_folder
from mmwsss.utils.errors import UserError


def parse(*words, **options):
    parser = argparse.ArgumentParser()
    add_data_arguments(parser, **options)
    return parser.parse_args(list(map(str, words)))


def test_everything_of_a_data_folder_can_be_said(generated_copy):
    folder = data_folder(parse(
        '--data-root', generated_copy, '--layout', 'voc', '--img-dir', 'i', '--seg-dir', 'm', '--saliency-dir', 's',
        '--label-file', 'l.csv', '--classes', 'a', 'b', '--missing-label', 'skip', '--mask-values', '1=2',
        '255=1'))
    assert (folder.layout, folder.img_dir, folder.mask_dir, folder.saliency_dir) == ('voc', 'i', 'm', 's')
    assert (folder.label_file, folder.class_list, folder.missing_label) == ('l.csv', ('a', 'b'), 'skip')
    assert folder.mask_values == {0: 0, 1: 2, 255: 1}
    colours = data_folder(parse('--data-root', generated_copy, '--mask-values', '128,0,0=2', '0,128,0=1'))
    assert colours.mask_values == {(0, 0, 0): 0, (128, 0, 0): 2, (0, 128, 0): 1}


def test_what_is_not_said_is_found(generated_copy):
    assert data_folder(parse('--data-root', generated_copy)).img_dir == 'JPEGImages'
    (generated_copy / 'JPEGImages').rename(generated_copy / 'images')
    assert data_folder(parse('--data-root', generated_copy)).layout == 'folder'


def test_no_data_at_all():
    assert data_folder(parse(required=False)) is None
    with pytest.raises(UserError, match='--seg-dir: says something of a data set; name it with --data-root'):
        data_folder(parse('--seg-dir', 'x', required=False))


@pytest.mark.parametrize('word', ['255', '255=x', 'a=1', '1,2=3', '1,2,3,4=5'])
def test_mask_values_that_are_none(word, capsys):
    with pytest.raises(SystemExit):
        parse('--data-root', 'x', '--mask-values', word)
    assert f'--mask-values {word}: ' in capsys.readouterr().err
