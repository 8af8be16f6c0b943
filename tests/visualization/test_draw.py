import cv2
import numpy as np
import pytest

from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import voc_palette
from mmwsss.utils.errors import UserError
from mmwsss.visualization.draw import (
    display_palette,
    draw_cam,
    draw_label,
    draw_legend,
    fit_image,
    save_png,
    side_by_side,
    write_on,
)

RNG = np.random.default_rng(0)


def random_image(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_cam_goes_from_blue_to_red_over_the_image():
    image = np.full((2, 3, 3), 100, np.uint8)
    cam = np.array([[0., .5, 1.], [-3., .5, 7.]])
    drawn = draw_cam(image, cam, alpha=.5)
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape
    red, blue = drawn[..., 0].astype(int), drawn[..., 2].astype(int)
    assert blue[0, 0] > red[0, 0] and red[0, 2] > blue[0, 2]
    assert np.array_equal(drawn[0], drawn[1]), 'values outside [0, 1] are clipped'
    assert np.array_equal(draw_cam(image, cam, alpha=0), image)
    assert (image == 100).all()


def test_cam_is_the_weighted_mean_of_image_and_colour_map():
    image, cam = random_image(7, 5, 3), RNG.random((7, 5))
    drawn = draw_cam(image, cam, alpha=.3)
    for y in range(7):
        for x in range(5):
            value = np.array([[round(255 * float(np.float32(cam[y, x])))]], np.uint8)
            blue, green, red = cv2.applyColorMap(value, cv2.COLORMAP_JET)[0, 0]
            expected = .7 * image[y, x] + .3 * np.array([red, green, blue])
            assert np.abs(drawn[y, x] - expected).max() <= .51


def test_cam_mistakes():
    with pytest.raises(ValueError, match='does not fit'):
        draw_cam(random_image(4, 4, 3), np.zeros((2, 2)))
    with pytest.raises(ValueError, match='not finite'):
        draw_cam(random_image(1, 1, 3), np.full((1, 1), np.nan))
    with pytest.raises(ValueError, match='uint8'):
        draw_cam(np.zeros((4, 4, 3)), np.zeros((4, 4)))


def test_label_has_the_colours_of_its_palette_and_255_is_hatched():
    label = RNG.integers(0, 4, (12, 12)).astype(np.uint8)
    label[:, 6:] = 255
    image, palette = random_image(12, 12, 3), voc_palette(4)
    drawn = draw_label(image, label, palette, alpha=1.)
    for y in range(12):
        for x in range(6):
            assert drawn[y, x].tolist() == (palette[label[y, x]] if label[y, x] else image[y, x].tolist())
    hatched = (drawn[:, 6:] == 255).all(axis=2)
    assert .3 < hatched.mean() < .8 and drawn[:, 6:].min() >= 127
    assert np.array_equal(draw_label(image, np.zeros_like(label), palette, alpha=0.), image)
    grey = draw_label(image[..., 0], label, palette)
    assert grey.shape == (12, 12, 3)


def test_display_colours_are_bright_and_different():
    palette = display_palette(81)
    assert palette[:9] == display_palette(9) and palette[0] == [0, 0, 0]
    assert len(set(map(tuple, palette))) == 81 and min(map(max, palette[1:])) > 128
    first = np.array(palette[1:21], float)
    distances = np.linalg.norm(first[:, None] - first[None], axis=2)[~np.eye(20, dtype=bool)]
    assert distances.min() > 40


def test_label_mistakes():
    with pytest.raises(ValueError, match='label 3 has no colour'):
        draw_label(random_image(2, 2, 3), np.full((2, 2), 3, np.uint8), voc_palette(3))
    with pytest.raises(ValueError, match='does not fit'):
        draw_label(random_image(2, 2, 3), np.zeros((2, 3), np.uint8), voc_palette(3))


@pytest.mark.parametrize('shape, fitted', [((20, 30), (40, 60)), ((80, 20), (40, 10)), ((1, 1), (40, 40)),
                                           ((10, 500), (2, 80)), ((500, 1), (40, 1)), ((40, 17), (40, 17))])
def test_images_are_fitted_with_their_proportions(shape, fitted):
    for image in (random_image(*shape), random_image(*shape, 3)):
        assert fit_image(image, 40).shape == (*fitted, 3)


def test_table_holds_each_image_unchanged_in_its_column():
    rows = [[random_image(30, 20, 3), random_image(30, 50)], [random_image(30, 10, 3), None, random_image(30, 40, 3)]]
    sheet = side_by_side(rows, height=30)
    assert sheet.shape == (6 + 36 + 36, 6 + 26 + 56 + 46, 3)
    assert np.array_equal(sheet[6:36, 6:26], rows[0][0])
    assert np.array_equal(sheet[6:36, 32:82], np.repeat(rows[0][1][..., None], 3, axis=2))
    assert np.array_equal(sheet[42:72, 11:21], rows[1][0]), 'centred in its column'
    assert np.array_equal(sheet[42:72, 88:128], rows[1][2])
    assert (sheet[42:72, 32:82] == 255).all() and (sheet[6:36, 88:128] == 255).all()


def test_titles_and_captions_are_written_above():
    row = [np.full((40, 60, 3), 200, np.uint8)] * 2
    sheet = side_by_side([row, row], ['first', 'second ' * 30], ['a', 'b'], height=40)
    plain = side_by_side([row, row], height=40)
    assert sheet.shape[0] == plain.shape[0] + 3 * 18 and sheet.shape[1] == plain.shape[1]
    ink = (sheet < 120).all(axis=2)
    title_line, first_caption = ink[6:24], ink[24:42]
    assert title_line[:, 6:66].any() and title_line[:, 72:132].any() and first_caption[:, :30].any()
    assert not ink[:, 132:].any(), 'a long title is cut'
    assert side_by_side([], ['a', 'b'], height=40).shape[2] == 3
    assert side_by_side([[]], height=40).size > 0
    with pytest.raises(ValueError, match='captions'):
        side_by_side([row], captions=['a', 'b'])
    with pytest.raises(ValueError, match='titles'):
        side_by_side([row], ['a', 'b', 'c'])


def test_text_on_an_image():
    image = np.full((60, 90, 3), 128, np.uint8)
    drawn = write_on(image, 'größe')
    assert (drawn[:42] == 128).all() and (drawn[42:] > 200).any() and drawn[42:].min() < 60
    assert (image == 128).all()
    assert write_on(np.zeros((1, 1), np.uint8), 'tiny').shape == (1, 1, 3)


def test_legend_shows_every_colour_and_wraps():
    names = [f'class_{k}' for k in range(12)] + ['x' * 200, 'ignored']
    colours = [*voc_palette(14)[1:], None]
    legend = draw_legend(names, colours, 300)
    assert legend.shape[1] == 300 and legend.shape[0] > 80
    shown = {tuple(pixel) for pixel in legend.reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in colours[:-1]} <= shown


def test_png_comes_back_and_no_temporary_file_stays(tmp_path):
    image = random_image(9, 5, 3)
    path = tmp_path / 'new' / 'picture.png'
    save_png(path, image)
    assert np.array_equal(read_image(path), image)
    save_png(path, image[..., 0])
    assert np.array_equal(read_image(path), np.repeat(image[..., :1], 3, axis=2))
    assert [p.name for p in path.parent.iterdir()] == ['picture.png']


def test_odd_images_are_read(tmp_path):
    stored = {'rgba.png': random_image(4, 6, 4), 'grey.png': random_image(4, 6),
              'deep.png': RNG.integers(0, 65536, (4, 6, 3), dtype=np.uint16), 'one.png': random_image(1, 1, 3)}
    for name, image in stored.items():
        cv2.imwrite(str(tmp_path / name), image)
        read = read_image(tmp_path / name)
        assert read.dtype == np.uint8 and read.shape == (*image.shape[:2], 3)
    for name, data in {'empty.jpg': b'', 'text.jpg': b'no image'}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name):
            read_image(tmp_path / name)
    with pytest.raises(UserError, match='absent'):
        read_image(tmp_path / 'absent.jpg')
