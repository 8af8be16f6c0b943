import json

import numpy as np
import pytest

from mmwsss.postprocessing import CRF_PRESETS, dense_crf
from mmwsss.utils.errors import UserError


@pytest.fixture(scope='module')
def benchmark(load_tool):
    return load_tool('benchmark/dense_crf.py')


@pytest.fixture
def installed(benchmark, monkeypatch):
    """As if PyTorch were all there is: nothing has to be compiled."""
    monkeypatch.setattr(benchmark, 'MODULES', {'torch': 'torch'})
    monkeypatch.setattr(benchmark, 'choose_backend', lambda: 'torch')


@pytest.mark.parametrize('unary', ['label', 'softmax'])
def test_figures(benchmark, installed, generated_root, tmp_path, capsys, unary):
    out = tmp_path / 'figures.json'
    assert benchmark.main(['--data-root', str(generated_root), '--num-images', '3', '--torch-images', '2', '--unary',
                           unary, '--processes', '1', '--out', str(out)]) == 0
    assert 'torch' in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report['images'] == 3 and report['unary'] == unary
    figure = report['ways']['torch']
    assert figure['images'] == 2 == len(figure['seconds']['one'])
    assert figure['one'] > 0 and figure['two'] > 0 and figure['one_ratio'] == figure['two_ratio'] == 1
    assert figure['largest'] == figure['other_labels'] == 0 and figure['mIoU'] == figure['reference'] > 0


def test_differences_are_seen(benchmark, generated_root):
    images = benchmark.Images(str(generated_root), 'train', 2)
    right = benchmark.make_way('torch', 'label')

    def wrong(image, scores):
        return [1 - result for result in right(image, scores)]

    report = benchmark.measure_one_core(images, {'right': right, 'wrong': wrong}, 'label', {'wrong': 1})
    assert report['right']['largest'] == 0 and report['right']['images'] == 2
    assert report['wrong']['largest'] > 0.5 and report['wrong']['other_labels'] > 0.5
    assert report['wrong']['mIoU'] != report['wrong']['reference']
    assert report['right']['mIoU'] == report['right']['reference']


def test_ways_and_scores(benchmark, generated_root):
    images = benchmark.Images(str(generated_root), 'train', 12)
    assert len(images) == 12 and len(set(images.stems)) == 12
    image, mask, present, maps = images[1]
    assert maps.shape == (len(present), *mask.shape) and maps.min() >= 0 and maps.max() <= 1
    for row, k in enumerate(present):
        inside = mask == k + 1
        assert maps[row][inside].mean() > 1.5 * maps[row][~inside].mean()
    np.testing.assert_array_equal(images[1][3], maps)
    scores = benchmark.with_background(maps, 'label', 0.25)
    assert scores.dtype == np.float32 and (scores[0] == np.float32(0.25)).all()
    np.testing.assert_allclose(benchmark.with_background(maps, 'softmax', 4)[0], (1 - maps.max(0)) ** 4, rtol=1e-5)
    for shared in (True, False):
        first, second = benchmark.make_way('torch', 'label', shared)(image, [scores, scores[::-1]])
        np.testing.assert_array_equal(first, dense_crf(image, scores, **CRF_PRESETS['label'], backend='torch'))
        np.testing.assert_array_equal(second, dense_crf(image, scores[::-1], **CRF_PRESETS['label'], backend='torch'))


def test_wrong_options(benchmark, generated_root):
    with pytest.raises(UserError, match='at least 1'):
        benchmark.main(['--data-root', str(generated_root), '--num-images', '0'])
