from pathlib import Path
from types import SimpleNamespace

import cv2
import mmengine.dist.utils
import numpy as np
import pytest
import torch
from mmengine.structures import LabelData, PixelData
from mmengine.visualization import Visualizer
from mmseg.structures import SegDataSample

from mmwsss.engine.hooks.cam_visualization_hook import CAMVisualizationHook
from mmwsss.registry import HOOKS
from mmwsss.utils.errors import UserError


def make_sample(path, classes=(2, 0), stem=None) -> SegDataSample:
    sample = SegDataSample(metainfo=dict(img_path=str(path), stem=stem or path.stem, class_filter='label'))
    levels = torch.linspace(.9, .1, max(len(classes), 1))[:len(classes)]
    sample.pred_cam = PixelData(data=levels[:, None, None].expand(len(classes), 10, 16).half())
    sample.pred_img_label = LabelData(label=torch.tensor(classes, dtype=torch.int64), score=torch.tensor([.9, .2, .6]))
    return sample


@pytest.fixture
def samples(tmp_path):
    paths = [tmp_path / f'photo{i}.png' for i in range(7)]
    for path in paths:
        cv2.imwrite(str(path), np.full((40, 64, 3), 120, np.uint8))
    return [make_sample(path) for path in paths]


@pytest.fixture
def runner(tmp_path):
    visualizer = Visualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path / 'work'))
    visualizer.dataset_meta = dict(classes=('boat', 'dog', 'cat'))
    return SimpleNamespace(visualizer=visualizer, folder=tmp_path / 'work' / 'vis_data' / 'vis_image')


def run_test(hook, runner, samples, batch_size=2) -> list[str]:
    hook.before_test(runner)
    for number, start in enumerate(range(0, len(samples), batch_size)):
        hook.after_test_iter(runner, number, None, samples[start:start + batch_size])
    return sorted(path.name for path in runner.folder.glob('*')) if runner.folder.exists() else []


def test_every_third_sample_is_drawn_whatever_the_batches(samples, runner):
    hook = HOOKS.build(dict(type='CAMVisualizationHook', interval=3, height=40))
    expected = ['cam_photo0_0.png', 'cam_photo3_3.png', 'cam_photo6_6.png']
    assert run_test(hook, runner, samples) == expected
    # A second test counts anew.
    assert run_test(hook, runner, samples, batch_size=5) == expected


def test_picture_shows_the_photograph_and_the_best_scores_first(samples, runner):
    run_test(CAMVisualizationHook(interval=100, height=40), runner, samples)
    picture = cv2.imread(str(runner.folder / 'cam_photo0_0.png')).astype(int)
    # Caption, then photograph | map of class 0 (score .9, level .1: blue) | of class 2 (score .6, level .9: red).
    assert picture.shape == (6 + 18 + 40 + 6, 6 + 3 * 70, 3)
    photo, first, second = (picture[24:44, x:x + 64] for x in (6, 76, 146))
    assert (photo == 120).all()
    assert (first[..., 0] > first[..., 2]).all() and (second[..., 2] > second[..., 0]).all()


@pytest.mark.parametrize(('class_filter', 'words'), [
    ('label', 'from image-level labels'), ('score', 'from predicted scores'), ('top_k', 'of the highest scores')])
def test_caption_says_what_chose_the_classes(samples, runner, monkeypatch, class_filter, words):
    captions = []
    monkeypatch.setattr('mmwsss.engine.hooks.cam_visualization_hook.side_by_side',
                        lambda rows, captions_=None, **options: captions.extend(options['captions']) or rows[0][0])
    samples[0].set_metainfo(dict(class_filter=class_filter))
    run_test(CAMVisualizationHook(interval=100, height=40), runner, samples)
    assert captions == [f'photo0, classes {words}']


def test_number_of_maps_is_limited_and_may_be_zero(samples, runner, tmp_path):
    run_test(CAMVisualizationHook(max_cams=1, height=40), runner, samples[:1])
    assert cv2.imread(str(runner.folder / 'cam_photo0_0.png')).shape[1] == 6 + 2 * 70
    nothing = make_sample(tmp_path / 'photo1.png', classes=(), stem='sub/photo1')
    assert 'cam_sub_photo1_0.png' in run_test(CAMVisualizationHook(height=40), runner, [nothing])


def test_works_without_class_names(samples, runner):
    runner.visualizer.dataset_meta = None
    assert run_test(CAMVisualizationHook(interval=100), runner, samples) == ['cam_photo0_0.png']


@pytest.mark.parametrize('rank, number', [(0, 7), (1, 0)])
def test_only_the_first_rank_draws(samples, monkeypatch, rank, number):
    drawn = []
    visualizer = SimpleNamespace(dataset_meta=None, add_image=lambda name, image, step: drawn.append(name))
    monkeypatch.setattr(mmengine.dist.utils, 'get_rank', lambda group=None: rank)
    run_test(CAMVisualizationHook(interval=1, height=8), SimpleNamespace(visualizer=visualizer, folder=Path('none')),
             samples)
    assert len(drawn) == number


def test_mistakes(samples, runner):
    with pytest.raises(UserError, match='interval'):
        CAMVisualizationHook(interval=0)
    del samples[0].pred_cam
    with pytest.raises(UserError, match='no CAMs'):
        run_test(CAMVisualizationHook(), runner, samples)
