import builtins
import io

import numpy as np
import pytest
from PIL import Image

from mmwsss.cli.main import main
from mmwsss.datasets.exif import drop_orientation, without_exif
from mmwsss.structures.image_file import ORIENTATION, read_image
from mmwsss.utils.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 255, (20, 31, 3), dtype=np.uint8)


def encoded(kind: str, orientation: int | None, **options) -> bytes:
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(('name', 'kind'), [
    ('a.jpg', 'JPEG'), ('a.png', 'PNG'), ('a.tif', 'TIFF'), ('a.webp', 'WEBP')])
@pytest.mark.parametrize('orientation', [2, 6, 8])
def test_pixels_are_read_as_they_are_stored(tmp_path, name, kind, orientation):
    source, target = tmp_path / 'in/sub', tmp_path / 'out'
    source.mkdir(parents=True)
    (source / name).write_bytes(encoded(kind, orientation, **(dict(lossless=True) if kind == 'WEBP' else {})))
    (tmp_path / name).write_bytes(encoded(kind, None, **(dict(lossless=True) if kind == 'WEBP' else {})))
    stored = read_image(tmp_path / name)
    turned = read_image(source / name)
    assert turned.shape != stored.shape or (turned != stored).any()
    summary = drop_orientation(tmp_path / 'in', target)
    assert (summary['num_images'], summary['num_changed'], summary['skipped']) == (1, 1, [])
    result, = (path for path in target.rglob('*') if path.is_file())
    assert result.parent == target / 'sub' and (read_image(result) == stored).all()


def test_the_rest_of_the_file_stays():
    profile = b'a colour profile' * 9000  # in several segments of a JPEG
    for kind in ('JPEG', 'PNG'):
        plain, turned = (encoded(kind, orientation, icc_profile=profile) for orientation in (None, 6))
        assert len(turned) > len(without_exif(turned)) and without_exif(turned) == without_exif(plain)
        with Image.open(io.BytesIO(without_exif(turned))) as image:
            assert image.info['icc_profile'] == profile and ORIENTATION not in image.getexif()
    for kind in ('JPEG', 'PNG'):  # what some programs append
        assert without_exif(encoded(kind, 6) + b'abc') == without_exif(encoded(kind, 6)) + b'abc'
    assert without_exif(encoded('WEBP', 6)) is None and without_exif(encoded('TIFF', 6)) == encoded('TIFF', 1)


def test_other_files(tmp_path, capsys):
    source = tmp_path / 'in'
    source.mkdir()
    (source / 'plain.jpg').write_bytes(encoded('JPEG', None))
    (source / 'broken.jpg').write_bytes(encoded('JPEG', 6)[:300])
    (source / 'notes.txt').write_text('no image')
    with pytest.raises(SystemExit) as caught:
        main(['convert', 'exif', str(source), '--out-dir', str(tmp_path / 'out')])
    assert caught.value.code == 3
    out, err = capsys.readouterr()
    assert '1 images, of 0' in out and 'broken.jpg' in err
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['plain.jpg']
    assert (tmp_path / 'out/plain.jpg').read_bytes() == (source / 'plain.jpg').read_bytes()


def test_linked_and_hidden_folders(tmp_path):
    for name in ('in/a.png', 'in/._a.png', 'in/.hidden/b.png', 'elsewhere/c.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded('PNG', 6))
    (tmp_path / 'in/link').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
    out = tmp_path / 'in/out'
    for _ in range(2):  # the images written first are not among those of the second call
        assert drop_orientation(tmp_path / 'in', out) == dict(num_images=2, num_changed=2, skipped=[])
    written = sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file())
    assert written == ['a.png', 'link/c.png']


def test_every_file_is_read_once(tmp_path, monkeypatch):
    (tmp_path / 'in').mkdir()
    for kind in ('JPEG', 'PNG', 'WEBP'):
        for orientation in (None, 6):
            (tmp_path / f'in/{kind}{orientation}.{kind.lower()}').write_bytes(encoded(kind, orientation))
    opened, plain = [], open

    def recording(file, *args, **kwargs):
        opened.append(str(file))
        return plain(file, *args, **kwargs)

    for module in (builtins, io):
        monkeypatch.setattr(module, 'open', recording)
    summary = drop_orientation(tmp_path / 'in', tmp_path / 'out')
    monkeypatch.undo()
    assert (summary['num_images'], summary['num_changed']) == (6, 3)
    assert sorted(name for name in opened if '/in/' in name) == sorted(map(str, (tmp_path / 'in').iterdir()))


def test_a_copy_replaces_no_other_image(tmp_path):
    source = tmp_path / 'in'
    source.mkdir()
    (source / 'a.webp').write_bytes(encoded('WEBP', 6))
    (source / 'a.png').write_bytes(encoded('PNG', None))
    summary = drop_orientation(source, tmp_path / 'out')
    (path, reason), = summary['skipped']
    assert path.endswith('a.webp') and 'a.png beside it' in reason
    assert (tmp_path / 'out/a.png').read_bytes() == (source / 'a.png').read_bytes()


def test_fill_bytes_before_a_marker():
    data, plain = encoded('JPEG', 6), encoded('JPEG', None)
    at = data.index(b'\xff\xe1')
    assert without_exif(data[:at] + b'\xff\xff' + data[at:]) == without_exif(plain)


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match='no such folder'):
        drop_orientation(tmp_path / 'absent', tmp_path / 'out')
    with pytest.raises(UserError, match='holds no image'):
        drop_orientation(tmp_path, tmp_path / 'out')
    with pytest.raises(UserError, match='is the folder of the images'):
        drop_orientation(tmp_path, tmp_path)
