import copy
import gc
import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from warm_python import warm_python

from mmwsss.apis.cam_files import make_cam
from mmwsss.apis.inferencer import CAMInferencer
from mmwsss.apis.runner import train
from mmwsss.config.label_options import label_options
from mmwsss.postprocessing import build_postprocessors, pseudo_label
from mmwsss.structures.cam_file import read_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import UserError
from mmwsss.visualization.draw import draw_cam


@pytest.fixture(scope='module')
def inferencer_parts(tmp_path_factory, repo_root, generated_root, tiny_cam_options):
    from mmwsss.config.config import load_config
    config = repo_root / 'configs/cam/cam_efflite0_small.py'
    cfg = load_config(config, generated_root, {**tiny_cam_options, 'train_cfg.max_epochs': 1})
    return train(cfg, tmp_path_factory.mktemp('inferencer')).checkpoint


@pytest.fixture
def inferencer(inferencer_parts, tiny_cam_cfg):
    return CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu')


def test_folder_with_labels_gives_the_cams_of_make_cam(inferencer, inferencer_parts, tiny_cam_cfg, generated_root,
                                                       tmp_path):
    make_cam(tiny_cam_cfg, inferencer_parts, tmp_path, 'val')
    images = sorted((generated_root / 'JPEGImages').glob('val_*.jpg'))
    files = [read_cam(tmp_path / f'{image.stem}.npz') for image in images]
    names = [[inferencer.classes[k] for k in file.classes] for file in files]
    for prediction, file, name, image in zip(inferencer(images, labels=names), files, names, images):
        assert prediction.class_filter == 'label' and prediction.source == image and list(prediction.classes) == name
        assert prediction.size == file.size and prediction.full_size().shape == (len(name), *file.size)
        np.testing.assert_allclose(prediction.cam, file.cam.astype(np.float32), atol=2**-10)


def test_classes_are_those_that_the_model_sees(inferencer_parts, tiny_cam_cfg, generated_root):
    inferencer = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu', hooks=[], top_k=1)
    predictions = inferencer(generated_root / 'JPEGImages')
    assert len(predictions) == 16
    inferencer.score_thr = sorted(max(prediction.scores.values()) for prediction in predictions)[8]
    filters = set()
    for prediction in inferencer(generated_root / 'JPEGImages'):
        seen = {name for name, score in prediction.scores.items() if score > inferencer.score_thr}
        best = max(prediction.scores, key=prediction.scores.__getitem__)
        assert set(prediction.classes) == (seen or {best})
        assert prediction.class_filter == ('score' if seen else 'top_k')
        filters.add(prediction.class_filter)
    assert filters == {'score', 'top_k'}
    inferencer.top_k = 0
    assert any(prediction.classes == () for prediction in inferencer(generated_root / 'JPEGImages'))
    inferencer.score_thr, inferencer.top_k = .999, 2
    assert {len(prediction.classes) for prediction in inferencer(generated_root / 'JPEGImages')} == {2}


def test_any_kind_of_image(inferencer, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (20, 30), dtype=np.uint8)).save(tmp_path / 'a_grey.png')
    Image.fromarray(rng.integers(0, 255, (20, 30, 4), dtype=np.uint8)).save(tmp_path / 'b_rgba.png')
    cv2.imwrite(str(tmp_path / 'c_16bit.png'), rng.integers(0, 65535, (20, 30, 3), dtype=np.uint16))
    Image.new('RGB', (1, 1)).save(tmp_path / 'd_pixel.png')
    rotated = Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated.save(tmp_path / 'e_exif.jpg', exif=exif)
    predictions = inferencer(tmp_path)
    assert [p.size for p in predictions] == [(20, 30), (20, 30), (20, 30), (1, 1), (30, 20)]


def test_array_and_file_are_the_same(inferencer, generated_root):
    path = next((generated_root / 'JPEGImages').glob('*.jpg'))
    names = [list(inferencer.classes)]
    from_file, = inferencer(path, labels=names)
    from_array, = inferencer(cv2.imread(str(path)), labels=names)
    np.testing.assert_array_equal(from_file.cam, from_array.cam)
    assert from_array.source is None


def test_mistakes_are_named(inferencer, tmp_path, tiny_cam_cfg, inferencer_parts):
    with pytest.raises(UserError, match=r'nothing\.jpg: cannot be read \(No such file'):
        inferencer(tmp_path / 'nothing.jpg')
    with pytest.raises(UserError, match='holds no images'):
        inferencer(tmp_path)
    with pytest.raises(UserError, match='unicorn'):
        inferencer(np.zeros((8, 8, 3), np.uint8), labels=[['unicorn']])
    with pytest.raises(UserError, match='2 labels'):
        inferencer(np.zeros((8, 8, 3), np.uint8), labels=[[], []])
    with pytest.raises(UserError, match='uint8'):
        inferencer(np.zeros((8, 8), np.uint8))
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'broken\.jpg'):
        inferencer(tmp_path / 'broken.jpg')
    with pytest.raises(UserError, match='use the class list'):
        CAMInferencer(tiny_cam_cfg, inferencer_parts, classes=['a', 'b', 'c'])
    nameless = tmp_path / 'nameless.pth'
    torch.save(dict(state_dict=torch.load(inferencer_parts, weights_only=True)['state_dict']), nameless)
    with pytest.raises(UserError, match='no class names'):
        CAMInferencer(tiny_cam_cfg, nameless)


@pytest.fixture
def photographs(generated_root, tmp_path):
    """Three good images and, between them, a truncated and an empty one."""
    files = sorted((generated_root / 'JPEGImages').glob('val_*.jpg'))[:3]
    folder = tmp_path / 'photographs'
    folder.mkdir()
    for name, file in zip('ace', files):
        (folder / f'{name}.jpg').write_bytes(file.read_bytes())
    data = files[0].read_bytes()
    (folder / 'b.jpg').write_bytes(data[:len(data) // 2])
    (folder / 'd.jpg').write_bytes(b'')
    (folder / '._a.jpg').write_bytes(b'a hidden file of another system')
    return folder


def test_bad_files_among_many_are_left_out(inferencer, photographs, monkeypatch):
    messages = []
    monkeypatch.setattr('mmwsss.apis.inferencer.print_log', lambda message, *args, **kwargs: messages.append(message))
    listed = sorted(photographs.glob('[a-e].jpg'))
    for images in (photographs, listed, iter(listed)):
        assert [p.source.name for p in inferencer(images)] == ['a.jpg', 'c.jpg', 'e.jpg']
        (truncated, reason), empty = inferencer.skipped
        assert truncated == str(photographs / 'b.jpg') and reason.startswith('unreadable image')
        assert empty == (str(photographs / 'd.jpg'), 'empty file')
    assert messages[:2] == [f'left out {path}: {why}' for path, why in inferencer.skipped] and len(messages) == 6
    # The labels stay with their images.
    names = [[inferencer.classes[i % 3]] for i in range(5)]
    assert [list(p.classes) for p in inferencer(photographs, names)] == [names[0], names[2], names[4]]
    inferencer(listed[0])
    assert inferencer.skipped == []


def test_a_bad_file_that_was_named_is_an_error(inferencer, photographs):
    for name, reason in (('b', 'unreadable image'), ('d', 'empty file')):
        with pytest.raises(UserError, match=rf'{name}\.jpg: {reason}.*; name another image$') as caught:
            inferencer(photographs / f'{name}.jpg')
        assert 'data set' not in str(caught.value)
    with pytest.raises(UserError, match=r'b\.jpg: .*not one of the 2 images'):
        inferencer([photographs / 'b.jpg', photographs / 'd.jpg'])


def test_file_that_vanishes_between_check_and_loading(inferencer, photographs, monkeypatch):
    from mmwsss.apis import inferencer as module

    def check_and_remove(path):
        result = check_image(path)
        (photographs / 'a.jpg').unlink(missing_ok=True)
        return result

    check_image = module.check_image
    monkeypatch.setattr(module, 'check_image', check_and_remove)
    assert [p.source.name for p in inferencer(photographs)] == ['c.jpg', 'e.jpg']
    assert inferencer.skipped[0] == (str(photographs / 'a.jpg'), 'cannot be read as an image')


def test_iterate_reads_a_batch_at_a_time(tiny_cam_cfg, inferencer_parts):
    inferencer = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu', batch_size=2)
    drawn = 0

    def images():
        nonlocal drawn
        for _ in range(12):
            drawn += 1
            yield np.zeros((16, 16, 3), np.uint8)

    predictions = inferencer.iterate(images())
    ahead = [drawn - given for given, _ in enumerate(predictions, 1)]
    assert len(ahead) == 12 and max(ahead) <= 2  # the rest of the batch, and the image whose size ends a run


def test_mistakes_show_before_the_first_prediction(inferencer):
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UserError, match='unicorn'):
        inferencer.iterate([image, image], labels=[[], ['unicorn']])


def test_two_iterations_at_once(inferencer, generated_root):
    path = next((generated_root / 'JPEGImages').glob('*.jpg'))
    by_score, by_label = inferencer.iterate([path] * 9), inferencer.iterate([path] * 9, [[]] * 9)
    assert {(a.class_filter != 'label', b.class_filter) for a, b in zip(by_score, by_label)} == {(True, 'label')}


def test_kinds_of_images_in_memory_are_one(inferencer, generated_root):
    path = next((generated_root / 'JPEGImages').glob('*.jpg'))
    expected, = inferencer(path, inferencer.classes[0])
    bgr = cv2.imread(str(path))
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    tensor = torch.from_numpy(rgb.transpose(2, 0, 1).copy())
    for image, order in ((bgr, None), (bgr, 'bgr'), (rgb, 'rgb'), (Image.fromarray(rgb), None), (tensor, None),
                         (tensor / 255, 'rgb'), (torch.flip(tensor, [0]), 'bgr')):
        for labels in (expected.classes[0], list(expected.classes), [list(expected.classes)]):
            found, = inferencer(image, labels, channel_order=order)
            np.testing.assert_array_equal(found.cam, expected.cam)
            np.testing.assert_array_equal(found.image(), expected.image())
            assert found.classes == expected.classes and found.source is None


def test_pil_images_of_any_mode(inferencer):
    rng = np.random.default_rng(0)
    grey16 = rng.integers(0, 65535, (20, 30), np.uint16)
    turned = Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8))
    turned.getexif()[0x0112] = 6
    images = [Image.fromarray(grey16), Image.fromarray((grey16 >> 8).astype(np.uint8)), turned,
              Image.new('RGBA', (4, 4))]
    first, second, third, _ = inferencer(images)
    np.testing.assert_array_equal(first.image(), second.image())
    assert third.size == third.image().shape[:2] == (30, 20)


def test_images_in_memory_that_are_none(inferencer):
    for image, message in ((torch.zeros(3, 4), 'tensor is uint8 or float'), (torch.ones(3, 4, 4) * 2, r'in \[0, 1\]'),
                           (torch.zeros(4, 4, 3), 'tensor is uint8 or float'),
                           (np.zeros((4, 4, 3)), 'array is uint8')):
        with pytest.raises(UserError, match=message):
            inferencer(image)
    with pytest.raises(UserError, match='channel_order'):
        inferencer(np.zeros((4, 4, 3), np.uint8), channel_order='gbr')


def test_what_a_prediction_draws_and_saves(inferencer, generated_root, tmp_path):
    path = next((generated_root / 'JPEGImages').glob('*.jpg'))
    names = list(inferencer.classes[:2])
    prediction, = inferencer(path, names)
    image = read_image(path)
    best = max(names, key=prediction.scores.__getitem__)
    np.testing.assert_array_equal(prediction.overlay(), prediction.overlay(best))
    for name, cam in zip(names, prediction.full_size()):
        np.testing.assert_array_equal(prediction.overlay(name), draw_cam(image, cam))
    with pytest.raises(UserError, match='unicorn'):
        prediction.overlay('unicorn')
    picture = prediction.draw()
    assert picture.ndim == 3 and picture.shape[1] > 4 * image.shape[1]  # the image, two CAMs, the label
    prediction.save(tmp_path / 'a.png')
    prediction.save(tmp_path / 'a.npz')
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), picture)
    saved = read_cam(tmp_path / 'a.npz')
    assert saved.classes.tolist() == [0, 1] and saved.size == image.shape[:2]
    np.testing.assert_array_equal(prediction.pseudo_label(.3), pseudo_label(saved, image,
                                                                            dict(type='constant', threshold=.3)))
    refined = prediction.pseudo_label(crf=True)
    options = label_options(crf=True)
    np.testing.assert_array_equal(refined, pseudo_label(saved, image, options['background'],
                                                        build_postprocessors(options['postprocessors'])))
    with pytest.raises(UserError, match=r'\.png'):
        prediction.save(tmp_path / 'a.jpg')


def test_files_of_one_call(inferencer, generated_root, tmp_path):
    images = generated_root / 'JPEGImages'
    predictions = inferencer(images, out_dir=tmp_path, crf=True)
    index = json.loads((tmp_path / 'predictions.json').read_text())
    assert len(predictions) == len(index['images']) == 16
    for prediction, entry in zip(predictions, index['images']):
        assert entry['class_filter'] == prediction.class_filter and entry['classes'] == list(prediction.classes)
        if prediction.source.stem.endswith('0'):
            np.testing.assert_array_equal(read_label(tmp_path / entry['label']), prediction.pseudo_label(crf=True))
    with pytest.raises(UserError, match='written to'):
        inferencer(tmp_path / 'overlays', out_dir=tmp_path)
    with pytest.raises(UserError, match='would be taken for images'):
        inferencer(images, out_dir=images / 'below')
    assert not (images / 'below').exists()


def test_hooks_by_name(tiny_cam_cfg, inferencer_parts, generated_root):
    image = next((generated_root / 'JPEGImages').glob('*.jpg'))
    own = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu')
    same = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu', hooks=['MultiScaleFlip'])
    # With the scales of the config.
    np.testing.assert_array_equal(own(image, own.classes)[0].cam, same(image, own.classes)[0].cam)
    none = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu', hooks=[])
    ssa = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu', hooks=['SSA'])
    assert [type(hook).__name__ for hook in ssa.model.inference_hooks] == ['SSA']
    assert not np.array_equal(none(image, own.classes)[0].cam, ssa(image, own.classes)[0].cam)
    given = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu', hooks=[dict(type='SSA', stages=('1', ))])
    assert given.model.inference_hooks[0].stages == ('1', )
    with pytest.raises(UserError, match='MultiScaleFlip'):
        CAMInferencer(tiny_cam_cfg, inferencer_parts, hooks=['SAS'])


def test_a_call_leaves_the_model_as_it_was(inferencer, generated_root):
    def state():
        return ({key: value.clone() for key, value in inferencer.model.state_dict().items()},
                dict(inferencer.model.test_cfg), list(inferencer.model.inference_hooks), inferencer.model.training)

    before = state()
    inferencer(generated_root / 'JPEGImages')
    inferencer(next((generated_root / 'JPEGImages').glob('*.jpg')), inferencer.classes)
    after = state()
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0]) and before[1:] == after[1:]


def test_memory_stays_as_it_is(tiny_cam_cfg, inferencer_parts):
    inferencer = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu', hooks=[])
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)

    def objects():
        gc.collect()
        return sum(isinstance(item, torch.Tensor) for item in gc.get_objects())

    for _ in range(50):
        inferencer(image, inferencer.classes[0])
    tensors, memory = objects(), resident()
    for _ in range(300):
        inferencer(image, inferencer.classes[0])
    # An image with its maps is 0.3 MB: 300 of them would be 90 MB.
    assert objects() == tensors and resident() - memory < 30


def resident():
    """Memory of this process in MiB."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def test_config_is_left_alone(tiny_cam_cfg, inferencer_parts):
    tiny_cam_cfg.model.cam_head.num_classes = None
    before = copy.deepcopy(tiny_cam_cfg.to_dict())
    inferencer = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu', score_thr=0.1)
    inferencer(np.zeros((8, 8, 3), np.uint8))
    assert tiny_cam_cfg.to_dict() == before


def test_any_order_of_the_pipeline(inferencer, tiny_cam_cfg, inferencer_parts, generated_root):
    path = next((generated_root / 'JPEGImages').glob('*.jpg'))
    expected, = inferencer(path)
    load, pack = tiny_cam_cfg.test_dataloader.dataset.pipeline
    tiny_cam_cfg.test_dataloader.dataset.pipeline = [dict(type='LoadMask'), {**load, 'to_float32': True}, pack]
    other = CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu')
    for image in (path, cv2.imread(str(path))):
        prediction, = other(image)
        np.testing.assert_array_equal(prediction.cam, expected.cam)
    tiny_cam_cfg.test_dataloader.dataset.pipeline = [pack]
    with pytest.raises(UserError, match='has 0 transforms that load an image'):
        CAMInferencer(tiny_cam_cfg, inferencer_parts, device='cpu')


def test_lazy_names_of_the_package(repo_root):
    code = ('import sys, mmwsss.apis; assert "mmwsss.apis.inferencer" not in sys.modules; '
            'from mmwsss.apis import CAMInferencer, CAMPrediction; '
            'from mmwsss.apis.inferencer import CAMInferencer as C; '
            'assert C is CAMInferencer; assert not hasattr(mmwsss.apis, "nothing")')
    subprocess.run([warm_python(), '-W', 'ignore', '-c', code], cwd=repo_root, check=True, timeout=120)


@pytest.mark.parametrize('device', ['foo', 'cuda:97', 'meta'])
def test_a_device_that_is_none(tiny_cam_cfg, inferencer_parts, device):
    with pytest.raises(UserError, match=f"^device '{device}': "):
        CAMInferencer(tiny_cam_cfg, inferencer_parts, device=device)
