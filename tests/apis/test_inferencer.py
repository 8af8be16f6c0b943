import copy
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.apis.cam_files import make_cam
from mmwsss.apis.inferencer import CAMInferencer
from mmwsss.apis.runner import train
from mmwsss.structures.cam_file import read_cam
from mmwsss.utils.errors import UserError


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
        assert prediction.gate == 'label' and prediction.source == image and list(prediction.classes) == name
        assert prediction.size == file.size and prediction.full_size().shape == (len(name), *file.size)
        np.testing.assert_allclose(prediction.cam, file.cam.astype(np.float32), atol=2**-10)


def test_classes_are_those_that_the_model_sees(inferencer, generated_root):
    predictions = inferencer(generated_root / 'JPEGImages')
    assert len(predictions) == 16
    for prediction in predictions:
        assert prediction.gate == 'score'
        assert set(prediction.classes) == {name for name, score in prediction.scores.items() if score > 0.5}


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
        (truncated, reason), empty = inferencer.omissions
        assert truncated == str(photographs / 'b.jpg') and reason.startswith('unreadable image')
        assert empty == (str(photographs / 'd.jpg'), 'empty file')
    assert messages[:2] == [f'left out {path}: {why}' for path, why in inferencer.omissions] and len(messages) == 6
    # The labels stay with their images.
    names = [[inferencer.classes[i % 3]] for i in range(5)]
    assert [list(p.classes) for p in inferencer(photographs, names)] == [names[0], names[2], names[4]]
    inferencer(listed[0])
    assert inferencer.omissions == []


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
    assert inferencer.omissions[0] == (str(photographs / 'a.jpg'), 'cannot be read as an image')


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
    assert [(a.gate, b.gate) for a, b in zip(by_score, by_label)] == [('score', 'label')] * 9


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
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=repo_root, check=True, timeout=120)
