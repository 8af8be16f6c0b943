import base64
import io
import json
import os

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmwsss.cli.main import main
from mmwsss.datasets import VOCImageLabelDataset
from mmwsss.datasets.annotations import READERS, Shape, annotations_to_voc
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import UserError

SQUARE = [[2, 2], [8, 2], [8, 8], [2, 8]]


def photograph(path, height=12, width=16, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def labelme(folder, name, shapes, image=None, **changes):
    photograph(folder / f'{name}.png', seed=hash(name) % 99)
    content = dict(version='5.5.0', flags={}, imagePath=image or f'{name}.png', imageData=None, imageHeight=12,
                   imageWidth=16, shapes=[dict(label=label, shape_type=kind, points=points, **more)
                                          for label, kind, points, more in shapes])
    (folder / f'{name}.json').write_text(json.dumps({**content, **changes}))


def polygon(points, height=12, width=16):
    """As labelme's own labelme_export_json draws it."""
    image = Image.new('L', (width, height))
    ImageDraw.Draw(image).polygon([tuple(point) for point in points], outline=1, fill=1)
    return np.array(image).astype(bool)


def test_labelme(tmp_path):
    buffer = io.BytesIO()
    painted = np.array([[1, 0, 1], [0, 1, 0]], bool)
    Image.fromarray(painted).save(buffer, format='PNG')
    small = [[4, 4], [6, 4], [6, 6], [4, 6]]
    source = tmp_path / 'source'
    labelme(source, 'a', [('dog', 'polygon', small, {}), ('cat', 'polygon', SQUARE, {}),
                          ('__ignore__', 'polygon', [[0, 0], [5, 0], [5, 5], [0, 5]], {})])
    labelme(source, 'b', [('owl', 'mask', [[10, 5], [12, 6]], dict(mask=base64.b64encode(buffer.getvalue()).decode())),
                          ('cat', 'circle', [[4, 4], [4, 6]], {})], image='C:\\somewhere\\else\\b.png')
    labelme(source, 'c', [('dog', 'rectangle', [[1, 1], [5, 5]], {})])
    labelme(source, 'd', [], flags=dict(owl=True, cat=False))
    labelme(source, 'e', [])
    labelme(source, 'f', [('cat', 'polygon', SQUARE, {})], imageHeight=99)
    out = tmp_path / 'out'
    summary = annotations_to_voc('labelme', source, out, masks=True, num_workers=0)
    reasons = {path.rsplit('/')[-1]: reason for path, reason in summary.pop('skipped')}
    assert summary == dict(split='train', num_images=6, num_unlabelled=1, num_masks=3, num_classes=3)
    assert reasons == {'c.png': 'no mask: rectangle has no area', 'd.png': 'no mask: a name alone has no area',
                       'f.png': 'no mask: f.json is for an image of 99 x 16 (height x width), but it is 12 x 16'}
    assert (out / 'classes.txt').read_text() == 'cat\ndog\nowl\n'
    assert json.loads((out / 'labels.json').read_text()) == dict(a=['dog', 'cat'], b=['owl', 'cat'], c=['dog'],
                                                                 d=['owl'], e=[], f=['cat'])
    expected = np.zeros((12, 16), np.uint8)
    expected[polygon([[0, 0], [5, 0], [5, 5], [0, 5]])] = 255
    expected[polygon(SQUARE)], expected[polygon(small)] = 1, 2
    np.testing.assert_array_equal(read_label(out / 'SegmentationClass/a.png'), expected)
    label = read_label(out / 'SegmentationClass/b.png')
    np.testing.assert_array_equal(label[5:7, 10:13] == 3, painted)
    rows, columns = np.indices(label.shape)
    distance = np.hypot(rows - 4, columns - 4)
    assert (label[distance < 1.9] == 1).all() and (label[(distance > 2.9) & (columns < 10)] == 0).all()
    assert (read_label(out / 'SegmentationClass/e.png') == 0).all()
    dataset = VOCImageLabelDataset(out, 'train')
    assert [dataset[i]['gt_img_label'].tolist() for i in (0, 4)] == [[1, 1, 0], [0, 0, 0]]


def test_labelimg_xml_and_yolo_are_one(tmp_path):
    objects = dict(a=['dog', 'cat', 'dog'], b=['cat'], c=[])
    xml, yolo, images = tmp_path / 'xml', tmp_path / 'yolo', tmp_path / 'images'
    for folder in (xml, yolo):
        folder.mkdir()
    (yolo / 'classes.txt').write_text('dog\ncat\n')
    for name, names in objects.items():
        photograph(images / 'sub' / f'{name}.jpg')
        items = ''.join(f'<object><name>{item}</name><bndbox><xmin>1</xmin></bndbox></object>' for item in names)
        (xml / f'{name}.xml').write_text(f'<annotation><filename>{name}.jpg</filename>{items}</annotation>')
        (yolo / f'{name}.txt').write_text(''.join(f'{["dog", "cat"].index(item)} .5 .5 .1 .1\n' for item in names))
    photograph(images / 'not_labelled.jpg')
    results = {}
    for source in (xml, yolo):
        out = tmp_path / f'out_{source.name}'
        summary = annotations_to_voc('labelimg', source, out, images, split='all')
        assert (summary['num_images'], summary['num_unlabelled'], summary['skipped']) == (3, 1, [])
        results[source.name] = json.loads((out / 'labels.json').read_text())
    assert results['xml'] == results['yolo'] == dict(a=['dog', 'cat'], b=['cat'], c=[])
    assert (tmp_path / 'out_yolo/classes.txt').read_text() == 'dog\ncat\n'  # the order of the program
    assert (tmp_path / 'out_xml/classes.txt').read_text() == 'cat\ndog\n'
    (yolo / 'b.txt').write_text('2 .5 .5 .1 .1\n')
    with pytest.raises(UserError, match=r"b\.txt: line 1: begins with '2'"):
        READERS['labelimg'](yolo, images)


def test_cvat(tmp_path):
    images = tmp_path / 'images'
    for name in ('a.png', 'sub/b.png', 'c.png', 'd.png'):
        photograph(images / name)
    square = ';'.join(f'{x:.2f},{y:.2f}' for x, y in SQUARE)
    (tmp_path / 'annotations.xml').write_text(f'''<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels>
<label><name>dog</name></label><label><name>cat</name></label><label><name>owl</name></label></labels></task></meta>
<image id="0" name="a.png" width="16" height="12">
  <polygon label="cat" points="{square}"/>
  <mask label="dog" rle="1,2,3,1,1,1" left="11" top="4" width="3" height="3"/></image>
<image id="1" name="sub/b.png" width="16" height="12"><box label="dog" xtl="1" ytl="2" xbr="5" ybr="6"/></image>
<image id="2" name="c.png" width="16" height="12"><tag label="owl"/><tag label="cat"/></image>
<image id="3" name="gone.png" width="16" height="12"/>
</annotations>''')
    out = tmp_path / 'out'
    summary = annotations_to_voc('cvat', tmp_path / 'annotations.xml', out, images, masks=True, num_workers=0)
    assert [path.rsplit('/')[-1] for path, _ in summary['skipped']] == ['gone.png', 'b.png', 'c.png']
    assert (out / 'classes.txt').read_text() == 'dog\ncat\nowl\n'
    assert json.loads((out / 'labels.json').read_text()) == dict(a=['cat', 'dog'], b=['dog'], c=['owl', 'cat'])
    expected = np.zeros((12, 16), np.uint8)
    expected[polygon(SQUARE)] = 2
    expected[4:7, 11:14][np.array([[0, 1, 1], [0, 0, 0], [1, 0, 1]], bool)] = 1
    np.testing.assert_array_equal(read_label(out / 'SegmentationClass/a.png'), expected)


def test_folder_for_each_class(tmp_path):
    source = tmp_path / 'source'
    for name in ('dog/1.jpg', 'dog/x/2.jpg', 'cat/3.png', 'background/4.jpg', '.hidden/5.jpg'):
        photograph(source / name)
    out = tmp_path / 'out'
    assert annotations_to_voc('folders', source, out, copy=True)['num_images'] == 4
    assert json.loads((out / 'labels.json').read_text()) == {'1': ['dog'], '2': ['dog'], '3': ['cat'], '4': []}
    assert not (out / 'JPEGImages/1.jpg').is_symlink()
    photograph(source / 'cat/1.png')  # the name of another image
    annotations_to_voc('folders', source, tmp_path / 'again')
    assert set(json.loads((tmp_path / 'again/labels.json').read_text())) == {
        'dog_1', 'dog_2', 'cat_3', 'cat_1', 'background_4'}


def test_splits_share_their_classes(tmp_path):
    for split, names in (('train', ('dog', 'cat')), ('val', ('dog', ))):
        for name in names:
            photograph(tmp_path / split / name / f'{split}_{name}.jpg')
        annotations_to_voc('folders', tmp_path / split, tmp_path / 'out', split=split)
    assert (tmp_path / 'out/classes.txt').read_text() == 'cat\ndog\n'
    assert (tmp_path / 'out/ImageSets/val.txt').read_text() == 'val_dog\n'
    assert len(json.loads((tmp_path / 'out/labels.json').read_text())) == 3


@pytest.mark.parametrize(('program', 'names', 'message'), [
    ('folders', ['#1', 'dog'], "class '#1' cannot stand in classes.txt"), ('labelme', ['dog', 'void'], '"void" is no'),
    ('labelimg', ['#1', 'dog'], "class '#1' cannot stand in classes.txt")])
def test_class_that_the_class_list_cannot_hold(tmp_path, program, names, message):
    source, out = tmp_path / 'source', tmp_path / 'out'
    for name in names:
        photograph(source / name / f'{name}.png')
    if program == 'labelme':
        labelme(source, 'a', [(name, 'polygon', SQUARE, {}) for name in names])
    (source / 'classes.txt').write_text(''.join(f'{name}\n' for name in names))
    with pytest.raises(UserError, match=f'{source}: {message}'):
        annotations_to_voc(program, source, out)
    assert not out.exists()


DECOMPOSED, COMPOSED = 'Ba\u0308r', 'B\u00e4r'


@pytest.mark.parametrize('program', ['folders', 'labelme', 'labelimg', 'cvat'])
def test_class_names_in_either_unicode_form(tmp_path, program):
    out = tmp_path / 'out'
    for split, name in (('train', DECOMPOSED), ('val', COMPOSED), ('test', DECOMPOSED)):
        source = tmp_path / split
        photograph(source / name / f'{split}.png')
        if program == 'labelme':
            labelme(source, split, [(f' {name} ', 'polygon', SQUARE, {})], flags={name: True})
        elif program == 'labelimg':
            (source / 'classes.txt').write_text(f'{name}\n')
            (source / f'{split}.txt').write_text('0 .5 .5 .1 .1\n')
        elif program == 'cvat':
            (source / 'annotations.xml').write_text(
                f'<annotations><label><name>{name}</name></label><image name="{split}.png"><tag label="{name}"/>'
                '</image></annotations>')
        annotations_to_voc(program, source, out, split=split, masks=program == 'labelme', num_workers=0)
        assert VOCImageLabelDataset(out, split)[0]['gt_img_label'].tolist() == [1]
    assert (out / 'classes.txt').read_text() == f'{COMPOSED}\n'
    assert json.loads((out / 'labels.json').read_text()) == {split: [COMPOSED] for split in ('train', 'val', 'test')}
    if program == 'labelme':
        assert np.unique(read_label(out / 'SegmentationClass/train.png')).tolist() == [0, 1]


def test_images_of_annotations_in_sub_folders(tmp_path):
    source, images = tmp_path / 'source', tmp_path / 'images'
    for folder in (source, images):
        for name in ('a.png', 'sub/a.png', 'b.png'):
            photograph(folder / name)
    (source / 'sub/a.json').write_text(json.dumps(dict(imagePath='a.png', shapes=[], flags=dict(cat=True))))
    (source / 'sub/b.json').write_text(json.dumps(dict(imagePath='b.png', shapes=[], flags=dict(cat=True))))
    for given in (None, images):
        folder = given or source
        found, _ = READERS['labelme'](source, folder)
        assert [annotation.image for annotation in found] == [folder / 'sub/a.png', folder / 'b.png']
    (source / 'classes.txt').write_text('cat\n')
    for stem in 'ab':
        (source / f'sub/{stem}.txt').write_text('0 .5 .5 .1 .1\n')
    yolo = READERS['labelimg'](source, images)[0]
    for stem in 'ab':
        (source / f'sub/{stem}.xml').write_text(f'<annotation><filename>{stem}.png</filename></annotation>')
    xml = READERS['labelimg'](source, images)[0]
    for found in (yolo, xml):
        assert [annotation.image for annotation in found] == [images / 'sub/a.png', images / 'b.png']


def test_two_images_of_one_name_for_yolo(tmp_path):
    source, images = tmp_path / 'source', tmp_path / 'images'
    for name in ('x/1.png', 'y/1.png'):
        photograph(images / name)
    source.mkdir()
    (source / 'classes.txt').write_text('cat\n')
    (source / '1.txt').write_text('0 .5 .5 .1 .1\n')
    with pytest.raises(UserError, match=r'y/1\.png: has the same name as .*x/1\.png'):
        annotations_to_voc('labelimg', source, tmp_path / 'out', images)


def test_mask_that_can_no_longer_be_drawn(tmp_path):
    source, out = tmp_path / 'source', tmp_path / 'out'
    path = out / 'SegmentationClass/a.png'

    def convert(kind):
        labelme(source, 'a', [('cat', kind, SQUARE[:2] if kind == 'rectangle' else SQUARE, {})])
        summary = annotations_to_voc('labelme', source, out, masks=True, num_workers=0)
        return [reason for _, reason in summary['skipped']]

    assert convert('polygon') == [] and path.is_file()
    assert convert('rectangle') == ['no mask: rectangle has no area'] and not path.exists()
    assert convert('polygon') == [] and path.is_file()
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(path)  # the user's own
    own = path.read_bytes()
    assert convert('rectangle') == [f'no mask: rectangle has no area; {path} is there and stays']
    assert path.read_bytes() == own


def test_name_that_is_not_utf_8(tmp_path):
    photograph(tmp_path / 'source/cat/ok.png')
    for odd, shown in ((b'cat/caf\xe9.png', r'cat/caf\\xe9\.png'), (b'h\xf6rse', r'h\\xf6rse')):
        path = os.path.join(os.fsencode(tmp_path), b'source', odd)
        try:
            if odd.endswith(b'.png'):
                open(path, 'wb').close()
            else:
                os.mkdir(path)
        except OSError:
            pytest.skip('this disk has no such names')
        with pytest.raises(UserError, match=rf'{shown}: its name is not UTF-8; rename it'):
            annotations_to_voc('folders', tmp_path / 'source', tmp_path / 'out')
        assert not (tmp_path / 'out').exists()
        if odd.endswith(b'.png'):
            os.remove(path)


def test_linked_folders_and_hidden_files(tmp_path):
    for name in ('source/cat/a.png', 'elsewhere/b.png'):
        photograph(tmp_path / name)
    (tmp_path / 'source/cat/._a.png').touch()
    (tmp_path / 'source/cat/link').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
    annotations_to_voc('folders', tmp_path / 'source', tmp_path / 'out')
    assert json.loads((tmp_path / 'out/labels.json').read_text()) == dict(a=['cat'], b=['cat'])


def test_image_names_that_lists_would_cut(tmp_path):
    for i, name in enumerate(('cat/shot.png.jpg', 'dog/sp ace .jpg', 'dog/shot.jpg')):
        photograph(tmp_path / 'source' / name, seed=i)
    for _ in range(2):
        annotations_to_voc('folders', tmp_path / 'source', tmp_path / 'out')
    dataset = VOCImageLabelDataset(tmp_path / 'out', 'train')
    samples = {dataset[i]['stem']: dataset[i]['gt_img_label'].tolist() for i in range(len(dataset))}
    assert samples == {'shot.png': [1, 0], 'sp ace ': [0, 1], 'shot': [0, 1]}


def test_mask_that_leaves_its_image():
    mask = np.ones((4, 4), bool)
    for left, top in ((-2, -1), (5, 6), (0, 0), (20, 20)):
        area = Shape('a', 'mask', np.array([[left, top]]), mask).draw(8, 8)
        rows, columns = np.indices((8, 8))
        expected = (rows >= top) & (rows < top + 4) & (columns >= left) & (columns < left + 4)
        np.testing.assert_array_equal(area, expected)


def test_command_line(tmp_path, capsys):
    labelme(tmp_path / 'source', 'a', [('cat', 'polygon', SQUARE, {})])
    with pytest.raises(SystemExit) as stop:
        main(['convert', 'annotations', 'labelme', str(tmp_path / 'source'), '--out-dir', str(tmp_path / 'out'),
              '--masks', '--num-workers', '0'])
    assert stop.value.code == 0 and '1 images in the split train, 1 classes, 1 masks' in capsys.readouterr().out


@pytest.mark.parametrize(('program', 'files', 'message'), [
    ('labelme', {'a.json': '[]'}, 'is no file of labelme'), ('labelme', {'a.json': '{'}, 'not valid json'),
    ('labelme', {'a.json': '{"shapes": [{"label": "a", "points": "x"}]}'}, 'a shape in it is damaged'),
    ('labelme', {'a.json': '{"shapes": [], "flags": ["a"]}'}, '"flags" must be'),
    ('labelme', {}, 'at least one'), ('labelimg', {}, 'holds no .xml files'),
    ('cvat', {'annotations.xml': '<annotations/>'}, 'has no <image>'), ('folders', {}, 'holds no folders'),
    ('cvat', {'annotations.xml': '<annotations><image name="a"><mask label="b" rle="1,2" width="2" height="2"/></image>'
                                 '</annotations>'}, 'a shape is damaged'),
    ('cvat', {'annotations.xml': '<annotations><image name="a"><mask label="b" width="2" height="2"/></image>'
                                 '</annotations>'}, 'a shape is damaged')])
def test_mistakes(tmp_path, program, files, message):
    (tmp_path / 'source').mkdir()
    for name, text in files.items():
        (tmp_path / 'source' / name).write_text(text)
    with pytest.raises(UserError, match=message):
        annotations_to_voc(program, tmp_path / 'source', tmp_path / 'out')
    with pytest.raises(UserError, match='no such file'):
        annotations_to_voc(program, tmp_path / 'nowhere', tmp_path / 'out')
