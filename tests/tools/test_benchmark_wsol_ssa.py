import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmwsss.config.config import load_config
from mmwsss.datasets.localization_set import LocalizationImage, write_localization_set
from mmwsss.evaluation import BoxLocalizationMetric
from mmwsss.models import VGG16
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

SIDE = 48
COUNTS = dict(train=6, held_out=3, test=4)
COLOURS = dict(cat=(40, 40, 230), dog=(230, 60, 40))


@pytest.fixture(scope='module')
def benchmark(load_tool):
    return load_tool('benchmark/wsol_ssa.py')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A coloured rectangle on noise in every picture, with its box and, in held_out and test, its mask."""
    rng = np.random.default_rng(0)
    source, root = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('set')
    for split, count in COUNTS.items():
        images = {}
        for i in range(count):
            height, width = 48 + 4 * (i % 3), 64 - 4 * (i % 2)
            x0, y0 = rng.integers(2, 20, 2).tolist()
            x1, y1 = x0 + 30, y0 + 24
            label = list(COLOURS)[i % 2]
            pixels = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
            pixels[y0:y1, x0:x1] = COLOURS[label]
            cv2.imwrite(str(source / f'{split}_{i}.png'), pixels)
            mask = np.zeros((height, width), np.uint8)
            mask[y0:y1, x0:x1] = 1
            images[f'{split}_{i}'] = LocalizationImage(
                str(source / f'{split}_{i}.png'), label, [[x0, y0, x1, y1]],
                None if split == 'train' else lambda mask=mask: mask)
        write_localization_set(root, split, images, list(COLOURS))
    return root


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    torch.manual_seed(0)
    model = VGG16()
    model.init_weights()
    path = tmp_path_factory.mktemp('weights') / 'vgg16.pth'
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope='module')
def run(benchmark, data, weights, tmp_path_factory):
    work = tmp_path_factory.mktemp('work')

    def main(*options, side=SIDE):
        return benchmark.main([str(data), '--weights', str(weights), '--work-dir', str(work), '--epochs', '2',
                               '--side', str(side), '--seeds', '0', '1', '--pictures', '2', *options])
    assert main() == 0
    main.work, main.reports = work, json.loads((work / 'reports.json').read_text())
    return main


def names(reports):
    return {(report['method'], report['seed'], report['row']) for report in reports}


def test_rows_of_both_tables(benchmark, run):
    # Table 2's eight sums with two blocks, and Table 1's other numbers of blocks; of second seeds the headline.
    rows = {'no SSA', *(f'stage {stages}, 2 blocks' for stages in (
        '3', '4', '5', '3 + 4', '3 + 5', '4 + 5', '3 + 4 + 5')), 'stage 4 + 5, 1 blocks', 'stage 4 + 5, 3 blocks'}
    assert names(run.reports) == {(method, seed, row) for method in ('CAM', 'SPA') for seed in (0, 1)
                                  for row in (rows if seed == 0 else ('no SSA', 'stage 4 + 5, 2 blocks'))}
    for report in (entry['report'] for entry in run.reports):
        assert report['num_images'] == report['num_with_boxes'] == report['num_with_masks'] == COUNTS['test']
        assert report['threshold_source'].startswith('chosen on held-out images') and report['class_filter'] == 'label'
        for kind in ('max', 'union'):
            assert report['errors'][kind]['gt_known'] >= report['oracle_errors'][kind]['gt_known']


def test_pictures(run):
    picture = cv2.imread(str(run.work / 'boxes.png'))
    assert picture.shape[0] > 2 * 200 and picture.shape[1] > 3 * 200
    for colour in ((60, 230, 60), (60, 60, 255)):  # BGR: the ground truth, and what was found
        assert (np.abs(picture.astype(int) - colour) < 50).all(axis=2).sum() > 200  # enlarged, and so blurred


def test_thresholds_are_those_of_the_held_out_images(run):
    for entry in run.reports:
        held = json.loads((run.work / f'held_out/{entry["method"]}{entry["seed"]}, {entry["row"]}.json').read_text())
        assert held['num_images'] == COUNTS['held_out'] and held['threshold_source'] == 'oracle'
        for kind in ('max', 'union'):
            assert entry['report']['errors'][kind]['threshold'] == held['errors'][kind]['threshold']


@pytest.mark.parametrize(('row', 'hooks'), [
    ('no SSA', []), ('stage 4 + 5, 2 blocks', [dict(type='SSA', stages=('1', '2'))]),
    ('stage 3, 2 blocks', [dict(type='SSA', stages=('0',))])])
def test_equals_the_classifier_itself(benchmark, run, data, weights, row, hooks):
    """Image by image with the model of the config and its hook, without features in half precision."""
    cfg = load_config(benchmark.CONFIG, data)
    cfg.model.test_cfg.update(crop_size=None, ten_crop=False)
    cfg.model.inference_hooks = hooks
    model = MODELS.build(cfg.model).eval()
    model.backbone.load_state_dict(torch.load(weights, weights_only=True))
    state = torch.load(run.work / 'heads/CAM_seed0_2epochs.pth', weights_only=True)
    torch.nn.ModuleList([model.neck, model.cam_head]).load_state_dict(state)
    dataset = benchmark.open_split(str(data), 'test', SIDE, None)
    metric = BoxLocalizationMetric(size='contour')
    for i in range(len(dataset)):
        batch = model.data_preprocessor(pseudo_collate([dataset[i]]))
        with torch.no_grad():
            sample, = model(**batch, mode='predict')
        metric.process({}, [dict(sample.to_dict(), **{
            key: dataset.get_data_info(i)[key] for key in ('gt_boxes', 'seg_map_path')})])
    wanted = metric.report(len(dataset))
    found, = (entry['report'] for entry in run.reports if (entry['method'], entry['seed'], entry['row']) == (
        'CAM', 0, row))
    assert found['classification_error'] == wanted['classification_error']
    for name in ('PxAP', 'peak_IoU'):
        assert found[name] == pytest.approx(wanted[name], abs=.01)
    assert found['MaxBoxAccV2'] == pytest.approx(wanted['MaxBoxAccV2'], abs=.1)  # one of twelve decisions


def same(one, other):
    """Says whether two reports agree: sums round differently where other rows are computed beside them."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == (pytest.approx(other, rel=1e-5) if isinstance(other, float) else other)


def test_what_is_there_is_used_again(benchmark, run, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, 'train_heads', lambda *_: pytest.fail('trained again'))
    monkeypatch.setattr(VGG16, 'forward', lambda *_: pytest.fail('features were computed again'))
    assert run('--skip-stages', '3', '--all-rows', 'SPA1', '--methods', 'SPA') == 0
    again = json.loads((run.work / 'reports.json').read_text())
    assert len(again) == 2 + 6 and all(entry['method'] == 'SPA' for entry in again)
    before = {(e['method'], e['seed'], e['row']): e['report'] for e in run.reports}
    for entry in again:
        key = entry['method'], entry['seed'], entry['row']
        assert same(entry['report'], before.get(key, entry['report']))
    out = capsys.readouterr().out
    assert 'box union; best thresholds on the test (oracle)' in out and out.count('SPA') >= 4 * 6
    assert run('--only', 'features') == run('--only', 'heads') == 0


@pytest.mark.parametrize(('options', 'message'), [
    (dict(side=64), r'features_.*other settings \(side\)'), (('--max-evaluated', '2'), 'features_.*images, num_images'),
    (('--max-train', '4'), 'features_train.*images, num_images')])
def test_files_of_other_settings_are_refused(run, options, message):
    before = sorted(run.work.rglob('*'))
    with pytest.raises(UserError, match=message):
        run(**options) if isinstance(options, dict) else run(*options)
    assert sorted(run.work.rglob('*')) == before


@pytest.mark.parametrize(('options', 'message'), [
    (('--all-rows', 'CAM7'), '--all-rows: CAM7 is none of CAM0, CAM1, SPA0, SPA1'), (('--epochs', '0'), '--epochs'),
    (('--weights', 'absent.pth'), 'absent.pth'), (('--max-train', '0'), '--max-train')])
def test_mistakes(run, options, message):
    with pytest.raises(UserError, match=message):
        run(*options)


def test_means_without_values(benchmark):
    assert benchmark.mean_and_deviation([.25, .75]) == '50.0 ± 35.4' and benchmark.mean_and_deviation([.5]) == '50.0'
    assert benchmark.mean_and_deviation([None, None]) == '-'
