import json
import re

import cv2
import numpy as np
import pytest

from mmwsss.datasets.label_sources import multi_hot, read_label_file, read_labels, read_mask_labels, read_xml_labels
from mmwsss.structures.label_file import write_label
from mmwsss.utils.errors import UserError


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize('name, text, expected', [
    ('l.csv', 'a.jpg,cat,dog\nx/b.png,cat\n', {'a': ['cat', 'dog'], 'b': ['cat']}),
    ('l.csv', 'image,labels\na,cat;dog;\n', {'a': ['cat', 'dog']}),
    ('l.csv', '\n\nFileName , label\na,cat\n', {'a': ['cat']}),
    ('l.csv', 'a,cat\nimage,dog\n', {'a': ['cat'], 'image': ['dog']}),  # a header is the first line only
    ('l.csv', '"a, b.jpg","traffic light, red",cat\n', {'a, b': ['traffic light, red', 'cat']}),
    ('l.csv', 'a, "big, dog", cat\n', {'a': ['big, dog', 'cat']}),
    ('l.csv', '\ufeffa,cat\r\n\r\n,,\r\nb,"dog"\r\n', {'a': ['cat'], 'b': ['dog']}),
    ('l.csv', 'a,cat,,cat\nb,\nc\n', {'a': ['cat'], 'b': [], 'c': []}),
    ('l.CSV', 'Käse.jpg,Hündchen\n', {'Käse': ['Hündchen']}),
    ('l.csv', 'a,cat,dog\na.png,dog,cat\n', {'a': ['cat', 'dog']}),  # twice with the same labels
    ('l.json', '{"a.jpg": ["cat", "dog"], "b": []}', {'a': ['cat', 'dog'], 'b': []}),
    ('l.json', '[{"image": "a.jpg", "labels": ["cat"]}, {"file_name": "x/b.png", "classes": ["dog"]},'
               '{"name": "c", "labels": [], "id": {"x": 1}}]', {'a': ['cat'], 'b': ['dog'], 'c': []}),
    ('l.json', '\ufeff{"a": ["cat"]}', {'a': ['cat']}),
    ('l.txt', 'a.jpg cat dog\nb\tcat\n', {'a': ['cat', 'dog'], 'b': ['cat']}),
    ('l.txt', 'my a.jpg\ttraffic light\tcat\n', {'my a': ['traffic light', 'cat']}),
    ('l.txt', 'my b.jpg, traffic light ,cat\n', {'my b': ['traffic light', 'cat']}),
    ('l.txt', '\ufeff# comment\r\n\r\n  # another\r\na cat\r\n', {'a': ['cat']})])
def test_read_label_file(tmp_path, name, text, expected):
    assert read_label_file(write(tmp_path, name, text)) == expected


@pytest.mark.parametrize('name, text, message', [
    ('l.csv', '', 'no label in it'),
    ('l.csv', '\n\n', 'no label in it'),
    ('l.csv', 'image,label\n', 'no label in it'),
    ('l.txt', '# only a comment\n', 'no label in it'),
    ('l.json', '{}', 'no label in it'),
    ('l.json', '[]', 'no label in it'),
    ('l.json', '', 'not valid json'),
    ('l.json', '{"a": ["cat"', 'not valid json'),
    ('l.json', '[' * 200_000, 'not valid json'),
    ('l.json', '3', 'must hold'),
    ('l.json', '{"a": "cat"}', "entry 'a': the labels must be a list"),
    ('l.json', '{"a": [1]}', "entry 'a': the labels must be a list"),
    ('l.json', '[{"labels": ["cat"]}]', 'entry 1: must have the image name'),
    ('l.json', '[{"image": 3, "labels": ["cat"]}]', 'entry 1: must have the image name'),
    ('l.json', '["a"]', 'entry 1: must have the image name'),
    ('l.json', '[{"image": "a"}]', 'entry 1: the labels must be a list'),
    ('l.json', '{"a": ["cat"], "a": ["dog"]}', "entry 'a': image 'a' is listed twice"),
    ('l.csv', 'a,cat\nb,dog\na.jpg,dog\n', "line 3: image 'a' is listed twice with different labels"),
    ('l.txt', 'x/a.jpg cat\ny/a.jpg dog\n', "line 2: image 'a' is listed twice"),
    ('l.csv', 'a;cat\n', 'line 1: separate the image'),
    ('l.csv', 'a,cat\n,dog\n', 'line 2: there is no image name'),
    ('l.txt', '\tcat\n', 'line 1: there is no image name'),
    ('l.csv', 'a,"cat\n', 'not valid csv'),
    ('l.csv', 'a,"cat"x\n', 'line 1: not valid csv'),
    ('l.csv', b'a,caf\xe9\n', 'not UTF-8 text'),
    ('l.txt', 'a cat\n'.encode('utf-16'), 'not UTF-8 text'),
    ('l.yaml', 'a: cat', 'must be .csv, .json or .txt')])
def test_bad_label_file_is_named_in_one_line(tmp_path, name, text, message):
    path = write(tmp_path, name, text)
    with pytest.raises(UserError) as error:
        read_label_file(path)
    assert str(error.value).startswith(f'{path}: ') and message in str(error.value)
    assert '\n' not in str(error.value)


def test_missing_label_file(tmp_path):
    with pytest.raises(UserError, match=r'l\.csv: cannot be read \(No such file'):
        read_label_file(tmp_path / 'l.csv')


VOC_XML = """<?xml version="1.0" encoding="{encoding}"?>
<annotation><filename>a.jpg</filename>
<object><name>dog</name><difficult>0</difficult><part><name>head</name></part></object>
<object><name> Käse </name><difficult>1</difficult></object>
<object><part><name>tail</name></part><name>dog</name></object>
</annotation>"""


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16', 'latin-1'])
def test_xml_labels(tmp_path, encoding):
    path = write(tmp_path, 'a.xml', VOC_XML.format(encoding=encoding).encode(encoding))
    assert read_xml_labels(path) == ['dog', 'Käse']
    assert read_xml_labels(path, use_difficult=False) == ['dog']


def test_xml_without_object(tmp_path):
    assert read_xml_labels(write(tmp_path, 'a.xml', '<annotation/>')) == []


DOCTYPE = '<?xml version="1.0"{}?><!DOCTYPE x [<!ENTITY a "dog"><!ENTITY b "&a;&a;&a;&a;">]>' \
          '<annotation><object><name>&b;</name></object></annotation>'


@pytest.mark.parametrize('text, message', [
    (DOCTYPE.format(''), 'has a DOCTYPE'),
    (DOCTYPE.format(' encoding="utf-16"').encode('utf-16'), 'has a DOCTYPE'),
    ('<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>', 'has a DOCTYPE'),
    ('<annotation><object>', 'not valid XML'),
    ('', 'not valid XML'),
    (b'\x00\xff\x12', 'not valid XML'),
    ('<?xml version="1.0" encoding="nonsense"?><annotation/>', 'not valid XML'),
    ('<annotation><object><pose/></object></annotation>', 'has no <name>'),
    ('<annotation><object><name> </name></object></annotation>', 'has no <name>')])
def test_bad_xml_is_named_in_one_line(tmp_path, text, message):
    path = write(tmp_path, 'a.xml', text)
    with pytest.raises(UserError) as error:
        read_xml_labels(path)
    assert str(error.value).startswith(f'{path}: ') and message in str(error.value)
    assert '\n' not in str(error.value)


def test_missing_xml(tmp_path):
    with pytest.raises(UserError, match=r'a\.xml: cannot be read'):
        read_xml_labels(tmp_path / 'a.xml')


def test_mask_labels(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(5):
        mask = rng.choice([0, 1, 3, 4, 255], (7, 9)).astype(np.uint8)
        write_label(tmp_path / 'a.png', mask)
        assert read_mask_labels(tmp_path / 'a.png', 4) == sorted({int(v) - 1 for v in mask.flat if 0 < v < 255})
    cv2.imwrite(str(tmp_path / 'grey.png'), np.uint8([[0, 2], [255, 0]]))
    assert read_mask_labels(tmp_path / 'grey.png', 2) == [1]


def test_mask_with_an_id_above_the_classes(tmp_path):
    path = tmp_path / 'a.png'
    write_label(path, np.uint8([[0, 5, 255]]))
    with pytest.raises(UserError, match=f'{re.escape(str(path))}: has the id 5, but there are 4 foreground classes'):
        read_mask_labels(path, 4)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=re.escape(str(path))):
        read_mask_labels(path, 5)


def test_multi_hot():
    classes = ('cat', 'dog', 'traffic light')
    vector = multi_hot(['traffic light', 'cat'], classes, 'l.csv', 'a')
    assert vector.dtype == np.float32 and vector.tolist() == [1, 0, 1]
    assert multi_hot([], classes, 'l.csv', 'a').tolist() == [0, 0, 0]


@pytest.mark.parametrize('name, closest', [('dgo', 'dog'), ('Cat', 'cat'), ('trafic-light', 'traffic light')])
def test_unknown_class_names_file_image_and_closest(name, closest):
    with pytest.raises(UserError, match=f"l.csv: image 'a': '{name}' is not in the class list .closest: '{closest}'"):
        multi_hot([name], ('cat', 'dog', 'traffic light'), 'l.csv', 'a')


def test_json_written_by_json(tmp_path):
    labels = {f'im_{i}': ['cat', 'dog'][:1 + i % 2] for i in range(20)}
    assert read_label_file(write(tmp_path, 'l.json', json.dumps(labels))) == labels


@pytest.mark.parametrize('name, text, expected', [
    ('l.csv', 'a,cat\nb,\nc\n', {'a': ['cat'], 'b': [], 'c': None}),
    ('l.txt', 'a cat\nb,\nc\n', {'a': ['cat'], 'b': [], 'c': None}),
    ('l.json', '{"a": ["cat"], "b": []}', {'a': ['cat'], 'b': []})])
def test_an_empty_label_is_one_and_no_label_is_none(tmp_path, name, text, expected):
    path = write(tmp_path, name, text)
    assert read_labels(path) == expected
    assert read_label_file(path) == {stem: names or [] for stem, names in expected.items()}


@pytest.mark.parametrize('header', ['file name,label', 'Image_Path;,classes', 'image-id,cat', 'photo,Category',
                                    'sample,class name', 'ID number,tags'])
def test_header_of_a_csv_is_no_image(tmp_path, header):
    assert read_label_file(write(tmp_path, 'l.csv', f'{header}\na.jpg,cat\n')) == {'a': ['cat']}


@pytest.mark.parametrize('first', ['a.jpg,label', 'a,cat'])
def test_first_image_is_no_header(tmp_path, first):
    assert list(read_label_file(write(tmp_path, 'l.csv', f'{first}\nb.jpg,cat\n'))) == ['a', 'b']


def test_names_in_either_unicode_form(tmp_path):
    path = write(tmp_path, 'l.csv', 'cafe\u0301.jpg,cafe\u0301\ncaf\u00e9.png,caf\u00e9\n')
    assert read_label_file(path) == {'caf\u00e9': ['caf\u00e9']}


def test_difficult_objects_alone_are_no_label(tmp_path):
    xml = '<annotation><object><name>dog</name><difficult>1</difficult></object></annotation>'
    path = write(tmp_path, 'a.xml', xml)
    assert read_xml_labels(path) == ['dog'] and read_xml_labels(path, use_difficult=False) is None


def test_names_of_labelme_count_for_nothing():
    assert multi_hot(['_background_', 'cat'], ['dog', 'cat'], 'l.csv', 'a').tolist() == [0, 1]
    assert multi_hot(['__ignore__'], ['dog', 'cat'], 'l.csv', 'a').tolist() == [0, 0]
