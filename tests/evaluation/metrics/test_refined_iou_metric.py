import json
import unicodedata

import cv2
import numpy as np
import pytest
import torch
import torch.distributed
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample
from two_ranks import fork, group

from mmwsss.evaluation.metrics.refined_iou_metric import RefinedIoUMetric, is_repeated
from mmwsss.postprocessing import dense_crf
from mmwsss.registry import POSTPROCESSORS
from mmwsss.structures.label_file import read_label, write_label
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError

CLASSES = ('background', 'cat', 'dog', 'cow')
COMPOSED = 'm\u00e4dchen'
SIZES = ((12, 16), (9, 7), (1, 1), (12, 16), (5, 20))


@POSTPROCESSORS.register_module(name='Unchanged', force=True)
class Unchanged:
    """Keeps the scores; or fails, where a colour says so."""

    def __init__(self, fail_at=None):
        self.fail_at = fail_at

    def __call__(self, score_map, image):
        if self.fail_at is not None and image[0, 0].tolist() == self.fail_at:
            raise UserError('will not do it')
        assert image.shape == (*score_map.scores.shape[1:], 3) and score_map.scores.dtype == np.float32
        np.testing.assert_allclose(score_map.scores.sum(axis=0), 1, atol=1e-5)
        return ScoreMap(score_map.scores, score_map.classes)


def make_samples(folder, sizes=SIZES):
    """Images, masks with ignored pixels, and logits that lean to the masks."""
    samples = []
    for i, size in enumerate(sizes):
        rng = np.random.default_rng([i, *size])
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        mask = rng.choice([0, 1, 2, 3, 255], size, p=[0.4, 0.2, 0.2, 0.1, 0.1]).astype(np.uint8)
        write_label(folder / f'{i}_mask.png', mask)
        logits = torch.from_numpy(rng.normal(size=(4, *size))).float()
        logits += 1.5 * torch.nn.functional.one_hot(torch.from_numpy(mask % 255).long(), 4).permute(2, 0, 1)
        samples.append(SegDataSample(
            metainfo=dict(img_path=str(folder / f'{i}.png'), stem=f'sub/{i}', ori_shape=size,
                          seg_map_path=str(folder / f'{i}_mask.png')),
            seg_logits=PixelData(data=logits), pred_sem_seg=PixelData(data=logits.argmax(0, keepdim=True)),
            gt_sem_seg=PixelData(data=torch.from_numpy(mask)[None].long())))
    return samples


def run(samples, size=None, metrics=(), **options):
    options = {**dict(postprocessors=[dict(type='Unchanged')], num_workers=0), **options}
    evaluator = Evaluator([*metrics, RefinedIoUMetric(**options)])
    evaluator.dataset_meta = dict(classes=CLASSES)
    for start in range(0, len(samples), 2):
        evaluator.process(data_samples=samples[start:start + 2], data_batch={})
    return evaluator.evaluate(size or len(samples))


def test_without_a_change_it_is_the_iou_metric(tmp_path):
    metrics = run(make_samples(tmp_path), metrics=[IoUMetric()])
    assert metrics['refined/mIoU'] == pytest.approx(metrics['mIoU'], abs=0.006) and 20 < metrics['mIoU'] < 80
    assert metrics['refined/recall'] == pytest.approx(metrics['mAcc'], abs=0.006)
    assert metrics['refined/num_labels'] == len(SIZES)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_equals_the_crf_by_hand(tmp_path, num_workers):
    samples = make_samples(tmp_path)
    options = dict(iterations=3, gaussian_sxy=1, bilateral_sxy=67, bilateral_srgb=3, bilateral_compat=4)
    metrics = run(samples, postprocessors=[dict(type='DenseCRF', **options)], num_workers=num_workers,
                  out_dir=str(tmp_path / 'out'), out_file=str(tmp_path / 'report/crf.json'))
    inter, union, changed = np.zeros(4), np.zeros(4), 0
    for i, sample in enumerate(samples):
        image = cv2.cvtColor(cv2.imread(sample.img_path), cv2.COLOR_BGR2RGB)
        label = dense_crf(image, sample.seg_logits.data.softmax(dim=0).numpy(), **options).argmax(axis=0)
        np.testing.assert_array_equal(read_label(tmp_path / f'out/sub/{i}.png'), label)
        mask = read_label(sample.seg_map_path)
        for k in range(4):
            inter[k] += ((label == k) & (mask == k)).sum()
            union[k] += (((label == k) | (mask == k)) & (mask != 255)).sum()
        changed += (label != sample.pred_sem_seg.data[0].numpy()).sum()
    assert changed > 20
    assert metrics['refined/mIoU'] == pytest.approx(100 * (inter / union).mean())
    report = json.loads((tmp_path / 'report/crf.json').read_text())
    assert [report['per_class'][name] for name in CLASSES] == pytest.approx(list(inter / union))
    assert report['num_images'] == len(SIZES)


def test_images_without_masks_are_only_written(tmp_path):
    samples = make_samples(tmp_path)
    for sample in samples:
        sample.set_metainfo(dict(seg_map_path=None))
    assert run(samples, with_iou=False, out_dir=str(tmp_path / 'out')) == {'refined/num_labels': len(SIZES)}
    for i, sample in enumerate(samples):
        np.testing.assert_array_equal(read_label(tmp_path / f'out/sub/{i}.png'), sample.pred_sem_seg.data[0].numpy())
    with pytest.raises(UserError, match=r'0\.png: no ground truth mask to evaluate on'):
        run(samples)


def test_names_without_a_stem_are_composed(tmp_path):
    sample, = make_samples(tmp_path, sizes=[(6, 8)])
    apart = tmp_path / f'{unicodedata.normalize("NFD", COMPOSED)}.png'
    (tmp_path / '0.png').rename(apart)
    del sample.stem
    sample.set_metainfo(dict(img_path=str(apart)))
    run([sample], out_dir=str(tmp_path / 'out'))
    assert [path.name for path in (tmp_path / 'out').iterdir()] == [f'{COMPOSED}.png']


@pytest.mark.parametrize('num_workers', [0, 2])
def test_mistakes_name_the_image(tmp_path, num_workers):
    samples = make_samples(tmp_path)
    colour = cv2.cvtColor(cv2.imread(samples[3].img_path), cv2.COLOR_BGR2RGB)[0, 0].tolist()
    with pytest.raises(UserError, match=r'3\.png: will not do it'):
        run(samples, postprocessors=[dict(type='Unchanged', fail_at=colour)], num_workers=num_workers)
    write_label(tmp_path / '1_mask.png', np.zeros((2, 2), np.uint8))
    with pytest.raises(UserError, match=r'1_mask\.png: the mask is 2 x 2'):
        run(samples, num_workers=num_workers)


def test_predictions_that_do_not_fit(tmp_path):
    sample, = make_samples(tmp_path, sizes=[(6, 8)])
    sample.seg_logits = PixelData(data=torch.zeros(4, 3, 4))
    with pytest.raises(UserError, match=r'needs seg_logits of \[4, 6, 8\] .* got \[4, 3, 4\]'):
        run([sample])
    del sample.seg_logits
    with pytest.raises(UserError, match='got None'):
        run([sample])


@pytest.mark.parametrize(('options', 'message'), [
    (dict(postprocessors=[]), 'postprocessors is empty'), (dict(postprocessors=[dict(type='No')]), 'not registered'),
    (dict(with_iou=False), 'nothing to do'),
    (dict(with_iou=False, out_dir='labels', out_file='report.json'), 'remove out_file'),
    (dict(num_workers=-1), 'num_workers'), (dict(num_workers=1.5), 'num_')])
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        RefinedIoUMetric(**{'postprocessors': [dict(type='Unchanged')], **options})


def test_images_that_a_sampler_repeats():
    assert [is_repeated(['c', 'a'], [['a', 'b'], ['x', 'y']], rank) for rank in (0, 1)] == [False, True]
    assert [is_repeated(['a', 'a', ''], [[], [], []], rank) for rank in range(3)] == [False, True, False]
    assert not is_repeated([''], [[]], 0)
    with pytest.raises(UserError, match='3 images were counted, but the data set has 2'):
        evaluator = RefinedIoUMetric([dict(type='Unchanged')], num_workers=0)
        evaluator.dataset_meta = dict(classes=CLASSES)
        evaluator._count([(name, 0) for name in 'abc'])
        evaluator.evaluate(2)


def run_rank(rank, folder, samples):
    # What DefaultSampler deals out: filled up from the start.
    total = -(-len(samples) // 2) * 2
    dealt = [samples[i % len(samples)] for i in range(total)][rank::2]
    with group(rank, folder):
        metrics = run(dealt, size=len(samples), num_workers=0)
    (folder / f'{rank}.json').write_text(json.dumps(metrics))


def test_ranks_give_the_same(tmp_path):
    samples = make_samples(tmp_path)
    expected = run(samples)
    fork(run_rank, tmp_path, samples)
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected
