import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.apis.inferencer import CAMInferencer
from mmwsss.apis.runner import make_cam, train
from mmwsss.structures.cam_file import read_cam
from mmwsss.utils.errors import UserError


@pytest.fixture(scope='module')
def inferencer_parts(tmp_path_factory, repo_root, generated_root, tiny_cam_options):
    from mmwsss.apis.config import load_config
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
    with pytest.raises(UserError, match='no such image'):
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
