import numpy as np
import pytest
from PIL import Image

from mmwsss.structures.label_file import read_label, write_label
from mmwsss.structures.mask_values import parse_mask_values
from mmwsss.utils.errors import UserError

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 9)


def save(path, pixels, mode=None):
    Image.fromarray(pixels).convert(mode or Image.fromarray(pixels).mode).save(path)
    return path


@pytest.mark.parametrize('given, parsed', [
    ({255: 1}, {0: 0, 255: 1}), ({'255': 1, '7': 255}, {0: 0, 255: 1, 7: 255}), ({0: 1, 1: 2}, {0: 1, 1: 2, 255: 255}),
    ({RED: 1}, {(0, 0, 0): 0, RED: 1}), ({'#ff0000': 1, '0, 128,0': 2}, {(0, 0, 0): 0, RED: 1, GREEN: 2}),
    ({'(255, 0, 0)': 3}, {(0, 0, 0): 0, RED: 3})])
def test_what_a_user_says(given, parsed):
    assert parse_mask_values(given) == parsed == parse_mask_values(parsed)


@pytest.mark.parametrize('given', [{}, None, [255], {256: 1}, {-1: 1}, {255: 256}, {255: 'cat'}, {'white': 1},
                                   {255: 1, RED: 2}, {(1, 2): 1}, {255: 1, '255': 2}, {(0, 0, 300): 1}, {'#fff': 1}])
def test_what_cannot_be_understood(given):
    with pytest.raises(UserError, match='mask_values must be a dict of values'):
        parse_mask_values(given)


@pytest.mark.parametrize('mode', ['L', 'P', '1'])
def test_binary_masks(tmp_path, mode):
    wanted = np.random.default_rng(0).integers(0, 2, (9, 13), dtype=np.uint8)
    if mode == 'P':
        write_label(tmp_path / 'a.png', wanted * 255)
    else:
        save(tmp_path / 'a.png', wanted * 255, mode)
    np.testing.assert_array_equal(read_label(tmp_path / 'a.png', {255: 1}), wanted)


def test_numbers_against_a_loop(tmp_path):
    values = {0: 255, 1: 0, 2: 1, 40: 2, 255: 3}
    stored = np.random.default_rng(0).choice(list(values), (11, 7)).astype(np.uint8)
    write_label(tmp_path / 'a.png', stored)
    label = read_label(tmp_path / 'a.png', values)
    assert label.dtype == np.uint8 and label.tolist() == [[values[v] for v in row] for row in stored.tolist()]
    np.testing.assert_array_equal(read_label(tmp_path / 'a.png'), stored)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P'])
def test_colours_against_a_loop(tmp_path, mode):
    rng = np.random.default_rng(0)
    table = {(0, 0, 0): 0, RED: 1, GREEN: 2, BLUE: 255}
    places = rng.integers(0, 4, (8, 6))
    colours = np.array(list(table), np.uint8)[places]
    if mode == 'P':  # an adaptive palette: the numbers of the colours are in the order of the picture
        image = Image.fromarray((3 - places).astype(np.uint8))
        image.putpalette([value for colour in list(table)[::-1] for value in colour])
        image.save(tmp_path / 'a.png')
    else:
        save(tmp_path / 'a.png', colours, mode)
    label = read_label(tmp_path / 'a.png', {key: value for key, value in table.items() if key != (0, 0, 0)})
    assert label.tolist() == [[table[tuple(pixel)] for pixel in row] for row in colours.tolist()]


def test_what_is_not_named_is_an_error(tmp_path):
    write_label(tmp_path / 'a.png', np.array([[0, 7, 255]], np.uint8))
    with pytest.raises(UserError, match=r'a\.png: has the value 7, which mask_values does not name'):
        read_label(tmp_path / 'a.png', {255: 1})
    save(tmp_path / 'b.png', np.array([[RED, GREEN]], np.uint8))
    with pytest.raises(UserError, match=r'b\.png: has the colour \(0, 128, 0\), which'):
        read_label(tmp_path / 'b.png', {RED: 1})
    with pytest.raises(UserError, match=r'b\.png: a label must be .* mask_values=\{\(r, g, b\): label'):
        read_label(tmp_path / 'b.png')
    with pytest.raises(UserError, match=r'b\.png: a label must be'):
        read_label(tmp_path / 'b.png', {255: 1})
