import sys

import numpy as np
import pytest
from scipy.io import savemat

from mmwsss.cli.main import main
from mmwsss.datasets import VOCImageLabelDataset
from mmwsss.datasets.voc_devkit import VOC_CLASSES, augmented_split, read_sbd_mask, voc_to_layout
from mmwsss.structures.label_file import read_label, write_label
from mmwsss.utils.errors import UserError

XML = '<annotation><object><name>{}</name><difficult>0</difficult></object></annotation>'


@pytest.fixture
def devkit(tmp_path, write_image):
    """VOC with train a, b and val c; SBD with a, d, c, e: c is in VOC's val, the mask of e has another size."""
    voc, sbd = tmp_path / 'VOCdevkit/VOC2012', tmp_path / 'benchmark_RELEASE/dataset'
    for folder in ('Annotations', 'ImageSets/Segmentation', 'SegmentationClass'):
        (voc / folder).mkdir(parents=True)
    for index, stem in enumerate('abcdef'):
        write_image(voc / f'JPEGImages/{stem}.jpg', 6, 8, seed=index)
        (voc / f'Annotations/{stem}.xml').write_text(XML.format('cat'))
    for name, stems in (('train', 'ab'), ('val', 'c'), ('trainval', 'abc')):
        (voc / f'ImageSets/Segmentation/{name}.txt').write_text(''.join(f'{stem}\n' for stem in stems))
    for stem in 'abc':
        write_label(voc / f'SegmentationClass/{stem}.png', np.full((6, 8), 8, np.uint8))
    (sbd / 'cls').mkdir(parents=True)
    for stem, shape in (('a', (6, 8)), ('c', (6, 8)), ('d', (6, 8)), ('e', (8, 6))):
        mask = np.zeros(shape, np.uint8)
        mask[2:4, 1:5] = 20
        segmentation = np.zeros((1, 1), [('Segmentation', object), ('Boundaries', object)])
        segmentation[0, 0] = (mask, mask)
        savemat(sbd / f'cls/{stem}.mat', {'GTcls': segmentation})
    (sbd / 'train.txt').write_text('a\nd\n')
    (sbd / 'val.txt').write_text('c\ne\n')
    return voc, sbd


def test_the_folder_is_complete(devkit, tmp_path):
    voc, sbd = devkit
    out = tmp_path / 'data/VOC2012'
    for given in (sbd, sbd.parent, sbd.parents[1]):  # again, whichever folder of SBD is named
        summary = voc_to_layout(voc, out, given, num_workers=0)
        assert summary['splits'] == dict(train=2, train_aug=4, trainval=3, val=1)
        assert (summary['num_masks'], summary['num_sbd']) == (4, 1)
        assert summary['skipped'] == [(str(sbd / 'cls/e.mat'), 'the mask is 8 x 6 instead of 6 x 8')]
    assert (out / 'classes.txt').read_text().split() == list(VOC_CLASSES)
    assert (out / 'ImageSets/Segmentation/train_aug.txt').read_text() == 'a\nb\nd\ne\n'
    assert (out / 'JPEGImages').is_symlink() and (out / 'SegmentationClass/a.png').is_symlink()
    assert (read_label(out / 'SegmentationClass/a.png') == 8).all()  # VOC's own, though SBD has one
    expected = np.zeros((6, 8))
    expected[2:4, 1:5] = 20
    np.testing.assert_array_equal(read_label(out / 'SegmentationClass/d.png'), expected)
    assert sorted(path.name for path in (voc / 'SegmentationClass').iterdir()) == ['a.png', 'b.png', 'c.png']
    for split in ('train_aug', 'trainaug'):
        dataset = VOCImageLabelDataset(out, split)
        assert len(dataset) == 4 and dataset[0]['gt_img_label'].nonzero()[0].tolist() == [VOC_CLASSES.index('cat')]


def test_copies(devkit, tmp_path):
    voc, sbd = devkit
    for copy in (False, True):  # links of an earlier run become copies
        voc_to_layout(voc.parent, tmp_path / 'out', sbd, copy=copy, num_workers=0)
    assert not any(path.is_symlink() for path in (tmp_path / 'out').rglob('*'))
    assert len(list((tmp_path / 'out/JPEGImages').iterdir())) == 6
    with pytest.raises(UserError, match='is there already and no link'):
        voc_to_layout(voc, tmp_path / 'out', sbd, num_workers=0)


def test_train_aug_is_the_union_without_val(tmp_path):
    chance = np.random.default_rng(0)
    names = [f'{i:03d}' for i in range(60)]
    train, val, first, second = (list(chance.choice(names, 20, replace=False)) for _ in range(4))
    (tmp_path / 'train.txt').write_text('\n'.join(first))
    (tmp_path / 'val.txt').write_text('\n'.join(second))
    expected = [name for name in names if (name in train or name in first or name in second) and name not in val]
    assert augmented_split(train, val, tmp_path) == expected


@pytest.mark.parametrize('name', ['train_aug', 'trainaug'])
def test_a_list_that_is_there_is_taken(devkit, tmp_path, name, capsys):
    voc, _ = devkit
    (voc / f'ImageSets/Segmentation/{name}.txt').write_text('a\nb\nd\ngone\n')
    with pytest.raises(SystemExit) as stop:
        main(['convert', 'voc', str(voc), '--out-dir', str(tmp_path / 'out'), '--num-workers', '0'])
    out, err = capsys.readouterr()
    assert stop.value.code == 3 and f'{name} 3' in out and 'no train_aug' not in out
    assert 'gone.jpg: missing image of split' in err
    assert len(VOCImageLabelDataset(tmp_path / 'out', 'train_aug')) == 3


def test_without_sbd_and_list_it_says_what_is_missing(devkit, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(['convert', 'voc', str(devkit[0])])
    assert stop.value.code == 0 and 'no train_aug, which needs --sbd' in capsys.readouterr().out
    assert (tmp_path / 'data/VOC2012/classes.txt').exists()


def test_mistakes_are_named(devkit, tmp_path, monkeypatch):
    voc, sbd = devkit
    out = tmp_path / 'out'
    with pytest.raises(UserError, match='name the folder VOC2012'):
        voc_to_layout(tmp_path / 'nowhere', out)
    with pytest.raises(UserError, match='has no folder cls'):
        voc_to_layout(voc, out, voc)
    with pytest.raises(UserError, match='lies in the folder of VOC itself'):
        voc_to_layout(voc, voc / 'new')
    (sbd / 'val.txt').unlink()
    with pytest.raises(UserError, match=r'val\.txt: no such file'):
        voc_to_layout(voc, out, sbd)
    (voc / 'ImageSets/Segmentation/val.txt').unlink()
    with pytest.raises(UserError, match=r'val\.txt: no such split'):
        voc_to_layout(voc, out)
    assert not out.exists()  # checked before anything is written
    for content in (b'', b'MATLAB 5.0 MAT-file' + bytes(200)):
        (tmp_path / 'damaged.mat').write_bytes(content)
        with pytest.raises(UserError, match=r'damaged\.mat: is no mask of SBD'):
            read_sbd_mask(tmp_path / 'damaged.mat')
    savemat(tmp_path / 'other.mat', {'GTinst': 1})
    with pytest.raises(UserError, match=r'other\.mat: is no mask of SBD'):
        read_sbd_mask(tmp_path / 'other.mat')
    monkeypatch.setitem(sys.modules, 'scipy.io', None)
    with pytest.raises(UserError, match='pip install scipy'):
        read_sbd_mask(tmp_path / 'other.mat')


def test_own_files_are_not_replaced(devkit, tmp_path):
    voc, sbd = devkit
    own = {'SegmentationClass/a.png': np.full((6, 8), 7, np.uint8),
           'SegmentationClass/d.png': np.ones((6, 8), np.uint8),
           'JPEGImages/a.jpg': None, 'classes.txt': 'my cat\nmy dog\n', 'ImageSets/Segmentation/train.txt': 'mine\n'}
    for index, (name, content) in enumerate(own.items()):
        for copy in (False, True):
            out = tmp_path / f'out{index}{copy}'
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            if content is None:  # as many bytes
                (out / name).write_bytes(bytes((voc / name).stat().st_size))
            elif isinstance(content, str):
                (out / name).write_text(content)
            else:
                write_label(out / name, content)
            before = (out / name).read_bytes()
            with pytest.raises(UserError, match=r'is there already and .* choose another --out-dir'):
                voc_to_layout(voc, out, sbd, copy=copy, num_workers=0)
            assert (out / name).read_bytes() == before
            if name != 'SegmentationClass/d.png':  # SBD's are looked at one by one
                assert [path for path in out.rglob('*') if path.is_file()] == [out / name]


def test_own_files_that_say_the_same_stay(devkit, tmp_path):
    voc, sbd = devkit
    out = tmp_path / 'out'
    out.mkdir()
    text = '# of VOC\n' + ''.join(f'{name}\n' for name in VOC_CLASSES)
    (out / 'classes.txt').write_text(text)
    for _ in range(2):
        voc_to_layout(voc, out, sbd, copy=True, num_workers=0)
    assert (out / 'classes.txt').read_text() == text
