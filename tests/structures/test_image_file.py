import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mmwsss.datasets.exif import drop_orientation
from mmwsss.structures.image_file import check_image, image_size, read_image, upright

XMP = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="%d"/></rdf:RDF>'
       b'</x:xmpmeta>')


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def text(raw, orientation):
    info = PngImagePlugin.PngInfo()
    if raw:
        data = exif(orientation).tobytes()
        info.add_text('Raw profile type exif', f'\nexif\n{len(data):8d}\n{data.hex()}\n', zip=True)
    else:
        info.add_itxt('XML:com.adobe.xmp', (XMP % orientation).decode())
    return info


# File: what says its orientation, and whether OpenCV reads it.
FILES = {'exif.jpg': (lambda n: dict(exif=exif(n)), True), 'xmp.jpg': (lambda n: dict(xmp=XMP % n), False),
         'both.jpg': (lambda n: dict(exif=exif(n), xmp=XMP % n), True),
         'exif.png': (lambda n: dict(exif=exif(n)), True),
         'xmp.png': (lambda n: dict(pnginfo=text(False, n)), False),
         'raw.png': (lambda n: dict(pnginfo=text(True, n)), False), 'exif.webp': (lambda n: dict(exif=exif(n)), True),
         'xmp.webp': (lambda n: dict(xmp=XMP % n), False), 'exif.tif': (lambda n: dict(exif=exif(n)), True),
         'none.jpg': (lambda n: {}, False), 'none.bmp': (lambda n: {}, False)}


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('name', FILES)
def test_orientation_is_the_one_that_training_sees(tmp_path, name, orientation):
    options, is_read = FILES[name]
    # Eight squares, which no compression moves.
    squares = np.random.default_rng(0).permutation(8).reshape(2, 4, 1) * np.array([30, 25, 20])
    stored = np.kron(squares, np.ones((16, 16, 1))).astype(np.uint8)
    path = tmp_path / name
    Image.fromarray(stored).save(path, **options(orientation))
    turned = is_read and orientation > 4
    seen = read_image(path)
    assert image_size(path) == seen.shape[:2] == ((64, 32) if turned else (32, 64))
    assert check_image(str(path)).turned == turned
    with Image.open(path) as image:
        np.testing.assert_allclose(np.asarray(upright(image).convert('RGB')), seen, atol=3)
    drop_orientation(tmp_path, tmp_path / 'plain')
    plain, = (tmp_path / 'plain').iterdir()
    assert image_size(plain) == read_image(plain).shape[:2] == (32, 64)
    np.testing.assert_allclose(read_image(plain).astype(float), stored, atol=40)


def test_images_that_are_no_file_are_turned_as_pil_does(tmp_path):
    image = Image.new('RGB', (6, 4))
    image.getexif()[0x0112] = 6
    assert upright(image).size == (4, 6)
