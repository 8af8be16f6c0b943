import csv
import json

import numpy as np
import pytest

from mmwsss.evaluation.breakdown import IMAGE_COLUMNS
from mmwsss.utils.errors import UserError


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/compare_images.py')


def write(path, rows):
    """Writes a file as eval_cam.py --per-image does: what an image has no value for is empty."""
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, IMAGE_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def random_images(seed, count):
    random = np.random.default_rng(seed)
    return [dict(zip(IMAGE_COLUMNS, [f'image_{i}', 1, *random.random(6).tolist()])) for i in range(count)]


@pytest.mark.parametrize('count, groups', [(1, 1), (7, 2), (23, 4), (8, 8)])
def test_groups_equal_loops(tool, tmp_path, count, groups):
    base, other, by = (random_images(seed, count) for seed in range(3))
    files = [str(write(tmp_path / f'{name}.csv', rows)) for name, rows in zip('abc', (base, other, by))]
    assert tool.main([*files[:2], '--by', files[2], '--groups', str(groups), '--out', str(tmp_path / 'out.json')]) == 0
    rows = json.loads((tmp_path / 'out.json').read_text())
    order = sorted(range(count), key=lambda i: by[i]['recall'] - by[i]['precision'])
    assert len(rows) == groups and sum(row['num_images'] for row in rows) == count
    assert max(row['num_images'] for row in rows) - min(row['num_images'] for row in rows) <= 1
    start = 0
    for row in rows:
        own = order[start:start + row['num_images']]
        start += len(own)
        gains = [other[i]['mIoU'] - base[i]['mIoU'] for i in own]
        mean = sum(gains) / len(gains)
        assert row['difference'] == pytest.approx(mean)
        assert row['other'] - row['base'] == pytest.approx(mean)
        assert row['gaining'] == sum(gain > 0 for gain in gains) / len(gains)
        assert row['better'] == pytest.approx(sum(max(other[i]['mIoU'], base[i]['mIoU']) for i in own) / len(own))
        assert row['activation'] == pytest.approx([by[i]['recall'] - by[i]['precision'] for i in (own[0], own[-1])])
        if len(own) == 1:
            assert row['error'] is None
        else:
            variance = sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1)
            assert row['error'] == pytest.approx((variance / len(gains)) ** 0.5)


def test_activation_of_images_without_prediction_or_object(tool):
    assert tool.activation(dict(recall=0.0)) == -1  # nothing is found
    assert tool.activation(dict(precision=0.0)) is None  # nothing is there
    assert tool.activation(dict(recall=0.9, precision=0.4)) == pytest.approx(0.5)


def test_images_that_one_file_lacks_are_left_out(tool):
    image = dict(mIoU=0.5, recall=0.5, precision=0.5)
    rows = tool.compare({'a': image, 'b': image, 'd': {}}, {'a': image, 'c': image, 'd': image},
                        dict.fromkeys('abcd', image), 1)
    assert [row['num_images'] for row in rows] == [1]
    with pytest.raises(UserError, match='too few for 2 groups'):
        tool.compare({'a': image}, {'a': image}, {'a': image}, 2)


def test_wrong_files(tool, tmp_path):
    good = str(write(tmp_path / 'good.csv', random_images(0, 3)))
    other = str(write(tmp_path / 'other.csv', random_images(1, 3)))
    with pytest.raises(UserError, match='same figures as'):
        tool.main([good, other, '--by', good])
    with pytest.raises(UserError, match='cannot be read'):
        tool.main([good, str(tmp_path / 'none.csv'), '--by', other])
    (tmp_path / 'empty.csv').write_text('')
    (tmp_path / 'words.csv').write_text(','.join(IMAGE_COLUMNS) + '\nimage,1,high,,,,,\n')
    (tmp_path / 'long.csv').write_text(','.join(IMAGE_COLUMNS) + '\nimage,1,1,1,1,1,1,1,1,1\n')
    for name, message in (('empty', 'is not a file of'), ('words', 'cannot be read'), ('long', 'cannot be read')):
        with pytest.raises(UserError, match=message):
            tool.main([good, str(tmp_path / f'{name}.csv'), '--by', other])
    with pytest.raises(SystemExit):
        tool.main([good, other, '--by', other, '--groups', '0'])
