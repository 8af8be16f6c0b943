import json

import numpy as np
import pytest
import torch
import torch.distributed
from mmengine.evaluator import Evaluator
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample
from two_ranks import fork, group

from mmwsss.evaluation import CAMMetric, cam_histogram, cam_report
from mmwsss.evaluation.threshold_curve import CAMHistogram
from mmwsss.registry import METRICS
from mmwsss.structures import read_label, resize_cam, write_label
from mmwsss.utils.errors import UserError

CLASSES = ('cat', 'dog', 'cow')


def make_samples(folder, count=6, seed=0):
    """Predictions of images of different sizes, with masks; image 2 has no maps."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        size = (17 + i, 24)
        classes = np.zeros(0, np.int64) if i == 2 else np.sort(rng.permutation(3)[:1 + i % 3])
        cam = torch.from_numpy(rng.random((len(classes), -(-size[0] // 4), 6)).astype(np.float16))
        mask = rng.integers(0, 4, size).astype(np.uint8)
        mask[:3] = 255
        write_label(folder / f'{i}.png', mask)
        samples.append(SegDataSample(
            metainfo=dict(img_path=f'{i}.jpg', stem=str(i), ori_shape=size, seg_map_path=str(folder / f'{i}.png'),
                          class_filter='label'),
            pred_cam=PixelData(data=cam), pred_img_label=LabelData(label=torch.from_numpy(classes))))
    return samples


def run(samples, size=None, batch=2, **options):
    evaluator = Evaluator(METRICS.build(dict(dict(type='CAMMetric'), **options)))
    evaluator.dataset_meta = dict(classes=CLASSES)
    for start in range(0, len(samples), batch):
        evaluator.process(data_samples=samples[start:start + batch], data_batch={})
    return evaluator.evaluate(len(samples) if size is None else size)


def expected_report(samples, thresholds):
    total = None
    for sample in samples:
        counts = cam_histogram(resize_cam(sample.pred_cam.data, sample.ori_shape), sample.pred_img_label.label,
                               read_label(sample.seg_map_path), thresholds, 3)
        if total is None:
            total = counts
        else:
            total += counts
    report = cam_report(total, thresholds, CLASSES, len(samples), class_filter='label')
    return dict(report, by_num_classes={
        name: at_threshold([sample for sample in samples if wanted(len(sample.pred_img_label.label))],
                           report['threshold'])
        for name, wanted in (('1', lambda n: n == 1), ('2', lambda n: n == 2), ('3+', lambda n: n > 2))})


def at_threshold(samples, threshold):
    """mIoU of some images at one threshold, from a report that has no other."""
    if not samples or threshold is None:
        return None
    total = CAMHistogram.zeros(len(CLASSES), 1)
    for sample in samples:
        total += cam_histogram(resize_cam(sample.pred_cam.data, sample.ori_shape), sample.pred_img_label.label,
                               read_label(sample.seg_map_path), [threshold], len(CLASSES))
    return cam_report(total, [threshold], CLASSES, len(samples))['mIoU']


def test_by_number_of_classes(tmp_path):
    samples = make_samples(tmp_path)
    run(samples, out_file=str(tmp_path / 'eval.json'))
    by_count = json.loads((tmp_path / 'eval.json').read_text())['by_num_classes']
    assert list(by_count) == ['1', '2', '3+'] and len(set(by_count.values())) == 3
    run([sample for sample in samples if len(sample.pred_img_label.label) == 1], out_file=str(tmp_path / 'eval.json'))
    report = json.loads((tmp_path / 'eval.json').read_text())
    assert report['by_num_classes'] == {'1': report['mIoU'], '2': None, '3+': None}


def test_report_and_metrics(tmp_path):
    samples = make_samples(tmp_path)
    metrics = run(samples, out_file=str(tmp_path / 'new' / 'eval.json'))
    report = json.loads((tmp_path / 'new' / 'eval.json').read_text())
    assert report == expected_report(samples, [i / 100 for i in range(101)])
    assert report['num_images'] == 6 and report['class_filter'] == 'label'
    assert metrics == dict(mIoU=100 * report['mIoU'], precision=100 * report['precision'],
                           recall=100 * report['recall'], threshold=report['threshold'], m_FN=report['m_FN'],
                           m_FP=report['m_FP'], oracle_threshold=True)


def test_options_and_second_epoch(tmp_path):
    samples = make_samples(tmp_path)
    metric = CAMMetric(thresholds=[.25, .5], prefix='cam')
    metric.dataset_meta = dict(classes=CLASSES)
    results = []
    for _ in range(2):
        metric.process({}, [sample.to_dict() for sample in samples])
        results.append(metric.evaluate(len(samples)))
    assert results[0] == results[1]
    assert set(results[0]) == {f'cam/{name}' for name in (
        'mIoU', 'threshold', 'm_FN', 'm_FP', 'precision', 'recall', 'oracle_threshold')}
    report = expected_report(samples, [.25, .5])
    assert results[0]['cam/mIoU'] == 100 * report['mIoU'] and results[0]['cam/threshold'] in (.25, .5)
    with pytest.raises(ValueError, match='increasing'):
        CAMMetric(thresholds=[.5, .25])


@pytest.mark.parametrize('filters, expected', [(('score',) * 6, 'score'), (('top_k',) * 6, 'top_k'),
                                               (('score', 'top_k') * 3, 'mixed'), (('label', 'score') * 3, 'mixed'),
                                               ((None,) * 6, None)])
def test_class_filter(tmp_path, filters, expected):
    samples = make_samples(tmp_path)
    for sample, class_filter in zip(samples, filters):
        sample.set_metainfo(dict(class_filter=class_filter))
    run(samples, out_file=str(tmp_path / 'eval.json'))
    assert json.loads((tmp_path / 'eval.json').read_text())['class_filter'] == expected


def test_nothing_true(tmp_path):
    samples = make_samples(tmp_path)[2:3]  # no maps: all background
    metrics = run(samples)
    assert np.isnan(metrics['m_FN']) and np.isnan(metrics['m_FP'])
    assert metrics['mIoU'] > 0 and metrics['threshold'] == 0


def test_no_batch():
    metric = CAMMetric()
    metric.dataset_meta = dict(classes=CLASSES)
    assert np.isnan(metric.evaluate(6)['mIoU'])


def test_missing_mask(tmp_path):
    sample, = make_samples(tmp_path, 1)
    for path, name in ((None, r'0\.jpg'), (str(tmp_path / 'none.png'), r'none\.png')):
        sample.set_metainfo(dict(seg_map_path=path))
        with pytest.raises(UserError, match=f'{name}: no ground truth mask .* without masks, drop CAMMetric'):
            run([sample])


def test_masks_and_maps_that_do_not_fit(tmp_path):
    sample, = make_samples(tmp_path, 1)
    write_label(tmp_path / '0.png', np.zeros((17, 25), np.uint8))
    with pytest.raises(UserError, match=r'0\.png: the mask is 17 x 25 instead of 17 x 24'):
        run([sample])
    write_label(tmp_path / '0.png', np.full((17, 24), 4, np.uint8))
    with pytest.raises(UserError, match=r'0\.png: has the label 4'):
        run([sample])
    write_label(tmp_path / '0.png', np.zeros((17, 24), np.uint8))
    sample.pred_cam.data[0, 2, 3] = float('nan')
    with pytest.raises(UserError, match=r'0\.jpg: its CAM cannot be evaluated: .*not a number'):
        run([sample])


def test_images_counted_twice(tmp_path):
    samples = make_samples(tmp_path)
    with pytest.raises(UserError, match='6 images were counted, but the data set has 5'):
        run(samples, size=5)


def run_rank(rank, folder):
    samples = make_samples(folder / str(rank))
    # Of very different length, with an image on one rank only: nothing is padded.
    mine = samples[:1] if rank else samples[1:]
    with group(rank, folder):
        metrics = run(mine, size=len(samples), out_file=str(folder / 'two.json'))
    (folder / f'metrics{rank}.json').write_text(json.dumps(metrics))


def test_two_ranks_equal_one(tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    fork(run_rank, tmp_path)
    metrics = run(make_samples(tmp_path), out_file=str(tmp_path / 'one.json'))
    for rank in range(2):
        assert json.loads((tmp_path / f'metrics{rank}.json').read_text()) == metrics
    assert (tmp_path / 'two.json').read_bytes() == (tmp_path / 'one.json').read_bytes()
