import errno
import os

import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmwsss.structures.label_file import label_path, read_label, voc_palette, write_label
from mmwsss.utils.errors import UserError


def test_palette_is_vocs():
    # mmseg writes VOC's colours out.
    assert voc_palette(21) == PascalVOCDataset.METAINFO['palette']
    assert voc_palette(256)[255] == [224, 224, 192]  # VOC's "void"
    assert len({tuple(colour) for colour in voc_palette(256)}) == 256
    assert voc_palette(0) == []
    with pytest.raises(ValueError, match='256'):
        voc_palette(257)


@pytest.mark.parametrize('shape', [(1, 1), (5, 7), (64, 33)])
def test_round_trip(tmp_path, shape):
    label = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    path = label_path(tmp_path, 'sub.d/a.b')
    write_label(path, label)
    assert path == tmp_path / 'sub.d' / 'a.b.png'
    np.testing.assert_array_equal(read_label(path), label)
    assert [p.name for p in path.parent.iterdir()] == ['a.b.png']


def test_file_is_8_bit_palette(tmp_path):
    label = np.array([[0, 1, 255]], np.uint8)
    write_label(tmp_path / 'a.png', label)
    header = (tmp_path / 'a.png').read_bytes()
    assert (header[24], header[25]) == (8, 3)  # bit depth, colour type "palette"
    with Image.open(tmp_path / 'a.png') as image:
        assert image.mode == 'P'
        colours = np.array(image.convert('RGB'))[0].tolist()
    assert colours == [[0, 0, 0], [128, 0, 0], [224, 224, 192]]


def test_mmseg_reads_it(tmp_path):
    label = np.random.default_rng(0).integers(0, 256, (8, 9)).astype(np.uint8)
    write_label(tmp_path / 'a.png', label)
    results = dict(seg_map_path=str(tmp_path / 'a.png'), seg_fields=[], reduce_zero_label=False, label_map=None)
    np.testing.assert_array_equal(LoadAnnotations().transform(results)['gt_seg_map'], label)


def test_same_content_gives_the_same_bytes(tmp_path):
    label = np.random.default_rng(0).integers(0, 9, (8, 9)).astype(np.uint8)
    write_label(tmp_path / 'a.png', label)
    write_label(tmp_path / 'b.png', np.asfortranarray(label))
    assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'b.png').read_bytes()


@pytest.mark.parametrize('mode, bits', [('L', 8), ('P', 8), ('P', 4), ('P', 2), ('P', 1)])
def test_grey_and_palette_files_of_others(tmp_path, mode, bits):
    label = np.random.default_rng(0).integers(0, 2 ** bits, (6, 11)).astype(np.uint8)
    image = Image.fromarray(label)
    if mode == 'P':
        image.putpalette([9, 9, 9] * 2 ** bits)  # all colours equal: only the numbers tell labels apart
    image.save(tmp_path / 'a.png', bits=bits)
    assert (tmp_path / 'a.png').read_bytes()[24] == bits
    np.testing.assert_array_equal(read_label(tmp_path / 'a.png'), label)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', 'I;16', '1'])
def test_other_layouts_are_refused(tmp_path, mode):
    image = Image.fromarray(np.ones((4, 4), np.uint16)) if mode == 'I;16' else Image.new(mode, (4, 4))
    image.save(tmp_path / 'a.png')
    with pytest.raises(UserError, match=r'a\.png: a label must be an 8-bit palette or grey PNG'):
        read_label(tmp_path / 'a.png')


def test_grey_of_4_bits_is_refused(tmp_path):
    # PIL would scale its numbers; written by hand since PIL writes no such file.
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    (tmp_path / 'a.png').write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 2, 1, 4, 0, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(b'\x00\x12')) + chunk(b'IEND', b''))
    with pytest.raises(UserError, match='L;4'):
        read_label(tmp_path / 'a.png')


def test_truncated_and_other_files(tmp_path):
    path = tmp_path / 'a.png'
    write_label(path, np.random.default_rng(0).integers(0, 9, (20, 20)).astype(np.uint8))
    data = path.read_bytes()
    whole = data.index(b'IEND') - 4
    for end in range(0, whole, 11):
        path.write_bytes(data[:end])
        with pytest.raises(UserError, match=r'a\.png: cannot be read') as error:
            read_label(path)
        assert '\n' not in str(error.value)
    Image.new('L', (4, 4)).save(tmp_path / 'b.png', format='JPEG')
    with pytest.raises(UserError, match='cannot be read as a PNG'):
        read_label(tmp_path / 'b.png')
    with pytest.raises(UserError, match='no such label file'):
        read_label(tmp_path / 'c.png')
    (tmp_path / 'd.png').mkdir()
    with pytest.raises(UserError, match='cannot be read'):
        read_label(tmp_path / 'd.png')


def test_flipped_bytes_end_in_a_user_error_or_a_label(tmp_path):
    path = tmp_path / 'a.png'
    write_label(path, np.random.default_rng(0).integers(0, 9, (10, 10)).astype(np.uint8))
    data, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(400):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            assert read_label(path).dtype == np.uint8
        except UserError:
            refused += 1
    assert refused > 120


@pytest.mark.parametrize('label', [np.zeros((2, 2), np.int64), np.zeros((1, 2, 2), np.uint8),
                                   np.zeros((0, 2), np.uint8)])
def test_no_label_map(tmp_path, label):
    with pytest.raises(ValueError, match='a label is uint8'):
        write_label(tmp_path / 'a.png', label)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write_label(tmp_path / 'a.png', np.zeros((2, 2), np.uint8))
    before = (tmp_path / 'a.png').read_bytes()

    def write_bytes(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr('pathlib.Path.write_bytes', write_bytes)
    with pytest.raises(OSError, match='No space left'):
        write_label(tmp_path / 'a.png', np.ones((2, 2), np.uint8))
    assert (tmp_path / 'a.png').read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['a.png']
