import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.apis.pseudo_label import make_pseudo_label
from mmwsss.datasets import DataFolder
from mmwsss.evaluation import label_from_cam
from mmwsss.registry import METRICS, POSTPROCESSORS
from mmwsss.structures import label_path, read_label, resize_cam
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, write_cam
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError


def run(out_dir, samples, **options):
    evaluator = Evaluator(METRICS.build(dict(dict(type='PseudoLabelWriter', out_dir=str(out_dir)), **options)))
    evaluator.dataset_meta = dict(classes=('background', 'cat'))
    evaluator.process(data_samples=samples, data_batch={})
    return evaluator.evaluate(len(samples))


def labelled(label, **meta):
    label = torch.as_tensor(label)
    # As mmengine's evaluator hands samples over, except that PixelData would put an axis before 2-D labels.
    return {**dict(img_path='dir/x.jpg', ori_shape=tuple(label.shape[-2:]), pred_sem_seg=dict(data=label)), **meta}


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
@pytest.mark.parametrize('lead', [(), (1,)])
def test_labels(tmp_path, dtype, lead):
    label = torch.tensor([[0, 1, 255], [254, 7, 0]]).to(dtype).reshape(*lead, 2, 3)
    assert run(tmp_path, [labelled(label, stem='sub.d/a.b')]) == dict(num_labels=1)
    np.testing.assert_array_equal(read_label(label_path(tmp_path, 'sub.d/a.b')), label.numpy().reshape(2, 3))


def test_name_from_the_image_path(tmp_path):
    # mmseg's own pipelines pack no stem.
    assert run(tmp_path, [labelled([[0, 1]])] * 2, prefix='out') == {'out/num_labels': 2}
    assert [p.name for p in tmp_path.iterdir()] == ['x.png']


@pytest.mark.parametrize('label, meta, message', [
    ([[0, 256]], {}, 'do not fit 8 bits'), ([[0, -1]], {}, 'do not fit 8 bits'),
    ([[0, 1]], dict(ori_shape=(2, 2)), 'but the image is'), ([[[0, 1]], [[0, 1]]], {}, 'but the image is')])
def test_labels_that_do_not_fit(tmp_path, label, meta, message):
    with pytest.raises(UserError, match=rf'x\.png: .*{message}'):
        run(tmp_path, [labelled(label, **meta)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('classes', [(3, 1), (0,), ()])
def test_cams_at_a_threshold(tmp_path, classes):
    cam = torch.from_numpy(np.random.default_rng(0).random((len(classes), 5, 6))).half()
    sample = SegDataSample(metainfo=dict(img_path='a.jpg', stem='a', ori_shape=(17, 24)),
                           pred_cam=PixelData(data=cam),
                           pred_img_label=LabelData(label=torch.tensor(classes, dtype=torch.int64)))
    run(tmp_path, [sample], threshold=.5)
    label = read_label(tmp_path / 'a.png')
    expected = label_from_cam(resize_cam(cam.numpy(), (17, 24)), np.array(classes, np.int64), .5)
    np.testing.assert_array_equal(label, expected)
    assert set(np.unique(label)) == {0, *(c + 1 for c in classes)}
    with pytest.raises(UserError, match='set threshold'):
        run(tmp_path, [sample])


def test_labels_win_over_cams(tmp_path):
    sample = labelled([[0, 1]], stem='a', pred_cam=dict(data=torch.ones(1, 1, 2)),
                      pred_img_label=dict(label=torch.tensor([0])))
    run(tmp_path, [sample], threshold=.5)
    assert read_label(tmp_path / 'a.png').tolist() == [[0, 1]]


def test_neither(tmp_path):
    with pytest.raises(UserError, match=r'x\.png: the model predicts no labels'):
        run(tmp_path, [SegDataSample(metainfo=dict(img_path='x.jpg', ori_shape=(1, 2)))], threshold=.5)


@POSTPROCESSORS.register_module(force=True)
class MirrorScores:
    """Post-processor that shows whether it was called, and with the right image."""

    def __init__(self, fail_on=-1):
        self.fail_on = fail_on

    def __call__(self, score_map, image):
        if image[0, 0, 0] == self.fail_on:
            raise UserError('the post-processor cannot do this image')
        return ScoreMap(score_map.scores[:, :, ::-1], score_map.classes)


@pytest.fixture
def cams(tmp_path):
    """Seven predictions of CAMs, with their images, as samples and as a folder of CAM files."""
    samples, rng = [], np.random.default_rng(0)
    open_cam_dir(tmp_path / 'cams', CAMManifest(None, None, ['cat', 'dog', 'owl']))
    (tmp_path / 'JPEGImages').mkdir()
    for n in range(7):
        cam = rng.random((n % 3, 3, 2)).astype(np.float16)
        image = np.full((9, 8, 3), 10 * n, np.uint8)
        cv2.imwrite(str(tmp_path / f'JPEGImages/{n}.png'), image)
        classes = np.arange(n % 3)
        write_cam(cam_path(tmp_path / 'cams', str(n)), CAMFile(classes, cam, (9, 8)))
        samples.append(dict(img_path=str(tmp_path / f'JPEGImages/{n}.png'), stem=str(n), ori_shape=(9, 8),
                            pred_cam=dict(data=torch.from_numpy(cam)),
                            pred_img_label=dict(label=torch.from_numpy(classes))))
    return samples


@pytest.mark.parametrize('num_workers', [0, 2])
def test_postprocessed_labels_are_those_of_the_cam_files(tmp_path, cams, num_workers):
    settings = dict(background=dict(type='constant', threshold=0.4), postprocessors=[dict(type='MirrorScores')])
    data = DataFolder.find(tmp_path, classes=['cat', 'dog', 'owl'])
    make_pseudo_label(tmp_path / 'cams', data, None, tmp_path / 'files', num_workers=0, **settings)
    assert run(tmp_path / 'run', cams, num_workers=num_workers, **settings) == dict(num_labels=7)
    found = set()
    for n in range(7):
        label = read_label(label_path(tmp_path / 'run', str(n)))
        np.testing.assert_array_equal(label, read_label(label_path(tmp_path / 'files', str(n))))
        found |= set(np.unique(label))
    assert found == {0, 1, 2}


@pytest.mark.parametrize('num_workers', [0, 2])
def test_postprocessor_that_fails_names_the_image(tmp_path, cams, num_workers):
    with pytest.raises(UserError, match=r'4\.png: the post-processor cannot do this image'):
        run(tmp_path / 'run', cams, num_workers=num_workers, background=dict(type='power', alpha=4),
            postprocessors=[dict(type='MirrorScores', fail_on=40)])


@pytest.mark.parametrize('options, message', [
    (dict(postprocessors=[dict(type='MirrorScores')]), 'need a background'), (dict(num_workers=-1), 'num_workers'),
    (dict(background=dict(type='power', alpha=4), threshold=0.3), 'in place of a threshold'),
    (dict(background=dict(type='saliency', weight=1)), 'for mmwsss label'),
    (dict(background=dict(type='power', alpha=0)), 'alpha')])
def test_wrong_settings(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, [], **options)
