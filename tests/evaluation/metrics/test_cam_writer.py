import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.evaluation import CAMWriter
from mmwsss.registry import METRICS
from mmwsss.structures import CAMManifest, cam_path, open_cam_dir, read_cam, read_manifest
from mmwsss.utils.errors import UserError

CLASSES = ('cat', 'dog', 'cow')


def make_sample(stem, size=(17, 24), classes=(0, 2), stride=4, seed=0):
    cam = np.random.default_rng(seed).random((len(classes), -(-size[0] // stride), -(-size[1] // stride)))
    return SegDataSample(metainfo=dict(img_path=f'{stem}.jpg', stem=stem, ori_shape=size),
                         pred_cam=PixelData(data=torch.from_numpy(cam).half()),
                         pred_img_label=LabelData(label=torch.tensor(classes, dtype=torch.int64)))


def run(out_dir, samples, **options):
    evaluator = Evaluator(METRICS.build(dict(dict(type='CAMWriter', out_dir=str(out_dir)), **options)))
    evaluator.dataset_meta = dict(classes=CLASSES)
    evaluator.process(data_samples=samples, data_batch={})
    return evaluator.evaluate(len(samples))


def test_files(tmp_path):
    samples = [make_sample('a'), make_sample('sub.d/b.c', (1, 1), (1,)), make_sample('none', classes=())]
    assert run(tmp_path / 'cams', samples) == dict(num_cams=3)
    for sample in samples:
        cam = read_cam(cam_path(tmp_path / 'cams', sample.stem))
        np.testing.assert_array_equal(cam.cam, sample.pred_cam.data.numpy())
        assert cam.classes.tolist() == sample.pred_img_label.label.tolist()
        assert cam.size == sample.ori_shape
    assert read_manifest(tmp_path / 'cams') == CAMManifest(None, None, CLASSES, dict(stride=4))
    assert sorted(p.name for p in (tmp_path / 'cams').rglob('*') if p.is_file()) == [
        'a.npz', 'b.c.npz', 'manifest.json', 'none.npz']


def test_full_size_maps_and_prefix(tmp_path):
    assert run(tmp_path, [make_sample('a', stride=1)], stride=1, prefix='out') == {'out/num_cams': 1}
    assert read_cam(tmp_path / 'a.npz').cam.shape == (2, 17, 24)


def test_count_starts_anew(tmp_path):
    writer = CAMWriter(str(tmp_path))
    writer.dataset_meta = dict(classes=CLASSES)
    for count in (2, 1):
        writer.process({}, [make_sample(str(i)).to_dict() for i in range(count)])
        assert writer.evaluate(2) == dict(num_cams=count)


def test_nothing_to_write(tmp_path):
    assert run(tmp_path / 'cams', []) == dict(num_cams=0)
    assert read_manifest(tmp_path / 'cams').classes == CLASSES


def test_folder_that_a_tool_has_opened(tmp_path):
    manifest = CAMManifest('ab', 'cd', CLASSES)
    open_cam_dir(tmp_path, manifest)
    run(tmp_path, [make_sample('a')])
    run(tmp_path, [make_sample('b')])  # and resumed
    assert read_manifest(tmp_path) == manifest


def test_manifest_of_the_config(tmp_path):
    given = dict(checkpoint_sha256='ab', config_hash='cd', extra=dict(class_filter='label'))
    run(tmp_path, [make_sample('a')], manifest=given)
    run(tmp_path, [make_sample('b')], manifest=given)
    assert read_manifest(tmp_path) == CAMManifest('ab', 'cd', CLASSES, dict(class_filter='label', stride=4))
    with pytest.raises(UserError, match='checkpoint_sha256 differ'):
        run(tmp_path, [make_sample('c')], manifest=dict(given, checkpoint_sha256='xy'))
    assert not (tmp_path / 'c.npz').exists()


@pytest.mark.parametrize('manifest', [CAMManifest('ab', 'cd', CLASSES[:2]),
                                      CAMManifest('ab', 'cd', CLASSES, dict(stride=8))])
def test_folder_of_other_classes_or_stride(tmp_path, manifest):
    open_cam_dir(tmp_path, manifest)
    with pytest.raises(UserError, match='other classes or another stride'):
        run(tmp_path, [make_sample('a')])


def test_folder_without_manifest(tmp_path):
    run(tmp_path, [make_sample('a')])
    (tmp_path / 'manifest.json').unlink()
    with pytest.raises(UserError, match=r'no manifest\.json'):
        run(tmp_path, [make_sample('a')])


def test_maps_of_another_stride(tmp_path):
    with pytest.raises(UserError, match=r'a\.npz: .* not stride 4; set the same stride'):
        run(tmp_path, [make_sample('a', stride=8)])


def test_maps_of_a_diverged_model(tmp_path):
    sample = make_sample('a')
    sample.pred_cam.data[0] = float('nan')
    with pytest.raises(UserError, match=r'a\.npz: not written, .*not finite'):
        run(tmp_path, [sample])
    assert not (tmp_path / 'a.npz').exists()


def test_stem_outside_the_folder(tmp_path):
    with pytest.raises(UserError, match='not an image name'):
        run(tmp_path / 'cams', [make_sample('../a')])
    assert not (tmp_path / 'a.npz').exists()


def test_maps_of_zeros_are_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmwsss.evaluation.metrics.cam_writer.print_log', lambda text, **_: said.append(text))
    empty = make_sample('empty')
    empty.pred_cam.data.zero_()
    half = make_sample('half')
    half.pred_cam.data[0].zero_()
    assert run(tmp_path / 'a', [empty, half, make_sample('no_class', classes=())]) == dict(num_cams=3)
    assert len(said) == 1 and 'the maps of 1 of 3 images are zero everywhere (empty)' in said[0]
    run(tmp_path / 'b', [half])
    assert len(said) == 1
