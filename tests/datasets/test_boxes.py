import numpy as np
import pytest

from mmwsss.datasets.boxes import component_boxes, read_boxes, read_xml_boxes, write_boxes
from mmwsss.utils.errors import UserError


def test_file_of_boxes(tmp_path):
    boxes = {'a': [[0, 1, 2.5, 3]], 'b': []}
    write_boxes(tmp_path / 'boxes.json', boxes)
    assert read_boxes(tmp_path / 'boxes.json') == boxes


@pytest.mark.parametrize('content, message', [
    ('[]', 'must hold'), ('{', 'not valid json'), ('{"a.jpg": 3}', "image 'a.jpg': its boxes must be a list"),
    ('{"a": [[1, 2, 3]]}', r'\[1, 2, 3\] is no box'), ('{"a": [[1, 2, 1, 3]]}', 'is no box'),
    ('{"a": [[NaN, 2, 4, 3]]}', 'is no box'), ('{"a": [["1", 2, 4, 3]]}', 'is no box')])
def test_damaged_file_of_boxes(tmp_path, content, message):
    (tmp_path / 'boxes.json').write_text(content)
    with pytest.raises(UserError, match=message):
        read_boxes(tmp_path / 'boxes.json')


def test_xml(tmp_path):
    box = '<bndbox><ymin>2</ymin><xmin>1</xmin><xmax>{}</xmax><ymax>9.5</ymax></bndbox>'
    path = tmp_path / 'a.xml'
    path.write_text('<annotation>' + ''.join(
        f'<object><name>{name}</name>{box.format(x)}</object>' for name, x in (('n1', 8), ('n2', 7), ('n1', 6)))
        + '</annotation>')
    assert read_xml_boxes(path) == {'n1': [[1, 2, 8, 9.5], [1, 2, 6, 9.5]], 'n2': [[1, 2, 7, 9.5]]}
    for damaged, message in (('<object><name>n</name></object>', 'has no <bndbox>'),
                             (f'<object><name>n</name>{box.format(1)}</object>', 'is no box')):
        path.write_text(f'<annotation>{damaged}</annotation>')
        with pytest.raises(UserError, match=message):
            read_xml_boxes(path)


def test_component_boxes():
    mask = np.zeros((10, 12), bool)
    mask[1, 1] = mask[2, 2] = True  # joined at the corner
    mask[4:9, 5:11] = True
    assert component_boxes(mask) == [[5, 4, 11, 9], [1, 1, 3, 3]]
    assert component_boxes(mask, min_share=.07) == [[5, 4, 11, 9]]
    assert component_boxes(np.zeros((3, 3), bool)) == []
    for share in (-.1, 2, float('nan')):
        with pytest.raises(UserError, match='--min-share: must be a share from 0 to 1'):
            component_boxes(mask, share)
