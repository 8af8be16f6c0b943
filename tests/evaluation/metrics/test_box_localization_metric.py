import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from mmengine.evaluator import Evaluator
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample
from two_ranks import fork, group

from mmwsss.evaluation import BoxLocalizationMetric
from mmwsss.evaluation.localization_report import chosen_thresholds
from mmwsss.evaluation.metrics.box_localization_metric import rank_of
from mmwsss.registry import METRICS
from mmwsss.structures import write_label
from mmwsss.utils.errors import UserError

THRESHOLDS = (0., .25, .5, .75)


def make_sample(name, cam, label=0, scores=(.7, .2, .1), boxes=((0, 0, 4, 4),), mask=None, **more):
    """A prediction whose map is that of class ``label``; [h, w] at the size of the image."""
    cam = torch.tensor(cam).half()
    return SegDataSample(
        metainfo=dict(dict(img_path=name, ori_shape=tuple(cam.shape), seg_map_path=mask, class_filter='label',
                           gt_boxes=np.array(boxes, np.float32).reshape(-1, 4)), **more),
        gt_img_label=LabelData(label=torch.eye(len(scores))[label]),
        pred_cam=PixelData(data=cam[None]),
        pred_img_label=LabelData(label=torch.tensor([label]), score=torch.tensor(scores)))


def square(value, low=0.):
    """8 x 8 with a square of 4 x 4 at the top left."""
    cam = np.full((8, 8), low)
    cam[:4, :4] = value
    return cam


@pytest.fixture
def samples(tmp_path):
    wide = square(1., .5)  # at .5 and above the square alone, below it nearly everything
    wide[0, 7] = 0
    two = square(.8)
    two[6:, 6:] = 1.  # a second, smaller component
    write_label(tmp_path / 'm.png', (square(1.) > 0).astype(np.uint8))
    return [
        make_sample('hit', square(1.), mask=str(tmp_path / 'm.png')),
        make_sample('wide', wide, label=1),  # ranked second
        make_sample('two', two, label=2, scores=(.1, .2, .3, .05, .05, .3), boxes=((0, 0, 4, 4), (6, 6, 8, 8))),
        make_sample('miss', square(1.), label=5, scores=(.2, .2, .2, .2, .2, 0.), boxes=((4, 4, 8, 8),)),
    ]


def run(samples, size=None, **options):
    evaluator = Evaluator(METRICS.build(dict(dict(type='BoxLocalizationMetric', thresholds=THRESHOLDS), **options)))
    evaluator.dataset_meta = dict(classes=tuple('abcdef'))
    for start in range(0, len(samples), 2):
        evaluator.process(data_samples=samples[start:start + 2], data_batch={})
    return evaluator.evaluate(len(samples) if size is None else size)


def test_by_hand(samples, tmp_path):
    metrics = run(samples, out_file=str(tmp_path / 'new/report.json'))
    report = json.loads((tmp_path / 'new/report.json').read_text())
    # Largest component. hit: at all thresholds. wide: at .5 and above. two: the square below
    # .8, above it the small one, which has a box too. miss: never.
    gt_known = [2 / 4, 2 / 4, 1 / 4, 1 / 4]
    assert report['curves']['max']['gt_known'] == gt_known
    # hit and two have the highest score (of equal ones the lower id is first), wide is in the top 5, miss is sixth.
    assert report['curves']['max']['top1'] == [2 / 4, 2 / 4, 2 / 4, 2 / 4]
    assert report['curves']['max']['top5'] == gt_known
    # Around all foreground, two fails below .8, as its two squares span the image.
    assert report['curves']['union']['gt_known'] == [3 / 4, 3 / 4, 2 / 4, 2 / 4]
    assert report['classification_error'] == dict(top1=.5, top5=.25)
    assert report['errors'] == report['oracle_errors']
    assert report['errors']['max'] == dict(threshold=.5, gt_known=.25, top1=.5, top5=.25)
    assert report['threshold_source'] == 'oracle' and report['class_filter'] == 'label' and report['num_images'] == 4
    assert (report['num_with_boxes'], report['num_with_masks']) == (4, 1)
    assert report['PxAP'] > .999 and report['peak_IoU'] > .99  # at 224 pixels the edge is a slope
    assert metrics['gt_known_error_max'] == 25 and metrics['top1_error_union'] == 75 and metrics['threshold_max'] == .5
    assert metrics['top1_cls_error'] == 50 and metrics['PxAP'] > 99.9
    assert metrics['MaxBoxAcc'] == 75 and 0 < metrics['MaxBoxAccV2'] <= 75


def test_given_threshold_and_held_out_images(samples, tmp_path):
    metrics = run(samples, threshold=.26)
    assert metrics['gt_known_error_max'] == 50 and metrics['threshold_max'] == .25
    held_out = str(tmp_path / 'held_out.json')
    run(samples[:1] + samples[3:], out_file=held_out)  # their best threshold is the first
    run(samples, threshold=held_out, out_file=str(tmp_path / 'test.json'))
    report = json.loads((tmp_path / 'test.json').read_text())
    assert report['errors']['max']['threshold'] == 0 and report['errors']['max']['gt_known'] == .5
    assert report['oracle_errors']['max']['gt_known'] == .25
    assert report['threshold_source'] == f'chosen on held-out images with full labels ({held_out})'
    assert report['box_acc']['threshold'] == chosen_thresholds(json.loads(Path(held_out).read_text()), '')['benchmark']
    with pytest.raises(UserError, match=r'nothing\.json: no such file of thresholds'):
        run(samples, threshold=str(tmp_path / 'nothing.json'))
    (tmp_path / 'other.json').write_text('{}')
    with pytest.raises(UserError, match=r'other\.json: holds no thresholds of boxes'):
        run(samples, threshold=str(tmp_path / 'other.json'))


def test_gate_that_loses_the_true_class(samples):
    lost = samples[0]
    lost.pred_img_label.label = torch.tensor([3])
    lost.set_metainfo(dict(class_filter='top_k'))
    metrics = run([lost])
    assert 'gt_known_error_max' not in metrics and metrics['top1_error_max'] == 100


def test_masks_only_and_many_classes(samples):
    scores = torch.linspace(0, 1, 1000)
    sample = make_sample('m', square(1.), label=999, scores=scores.tolist(), boxes=(),
                         mask=samples[0].seg_map_path)
    metrics = run([sample])
    assert set(metrics) == {'PxAP', 'peak_IoU', 'top1_cls_error', 'top5_cls_error'}
    assert metrics['PxAP'] > 99.9 and metrics['top1_cls_error'] == 0
    assert run([make_sample('b', square(1.), 500, scores.tolist())])['top5_cls_error'] == 100


def test_mistakes(samples, tmp_path):
    with pytest.raises(UserError, match='hit: has 2 classes'):
        samples[0].gt_img_label.label[1] = 1
        run(samples)
    del samples[0].gt_img_label
    with pytest.raises(UserError, match='hit: has no image-level label'):
        run(samples)
    with pytest.raises(UserError, match='none: has neither a box nor a mask'):
        run([make_sample('none', square(1.), boxes=())])
    write_label(tmp_path / 'small.png', np.zeros((3, 8), np.uint8))
    with pytest.raises(UserError, match=r'small\.png: is 3 x 8 .* image is 8 x 8'):
        run([make_sample('mask', square(1.), mask=str(tmp_path / 'small.png'))])
    with pytest.raises(UserError, match='4 images were counted, but the data set has 3'):
        run([make_sample('twice', square(1.))] * 4, size=3)
    with pytest.raises(UserError, match='nan: its CAM is not finite'):
        run([make_sample('nan', square(float('nan')))])
    for options in (dict(size='volume'), dict(ious=()), dict(ious=(0.,)), dict(thresholds=(.5, .4))):
        with pytest.raises(ValueError):
            BoxLocalizationMetric(**options)


def test_rank_of():
    assert [rank_of(np.array([.3, .5, .3]), i) for i in range(3)] == [1, 0, 2]


def _rank(rank, folder, samples):
    with group(rank, folder):
        share = samples[:3] if rank == 0 else samples[3:]
        metrics = run(share, len(samples), out_file=f'{folder}/ranks.json')
        Path(folder, f'{rank}.json').write_text(json.dumps(metrics))


def test_two_ranks_give_what_one_gives(samples, tmp_path):
    expected = run(samples, out_file=str(tmp_path / 'one.json'))
    fork(_rank, str(tmp_path), samples)
    assert [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2)] == [expected] * 2
    assert (tmp_path / 'ranks.json').read_text() == (tmp_path / 'one.json').read_text()
