"""A folder with images and CAMs to make pseudo labels of, and post-processors that show what they got."""
import cv2
import numpy as np
import pytest
from PIL import Image

from mmwsss.apis.pseudo_label import make_pseudo_label
from mmwsss.datasets import DataFolder
from mmwsss.registry import POSTPROCESSORS
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, write_cam
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError

CLASSES = ('cat', 'dog', 'sheep')
BACKGROUND = {'type': 'constant', 'threshold': 0.4}


class Brightness:
    """Adds red / 255 to the background's score."""

    def __init__(self, gain=1.0):
        self.gain = gain

    def __call__(self, score_map, image):
        scores = score_map.scores.copy()
        scores[0] += self.gain * image[..., 0] / np.float32(255)
        return ScoreMap(scores, score_map.classes)


class Broken:

    def __call__(self, score_map, image):
        raise UserError('this image is not to my taste')


@pytest.fixture(autouse=True)
def registered():
    POSTPROCESSORS.register_module(name='TestBrightness', module=Brightness)
    POSTPROCESSORS.register_module(name='TestBroken', module=Broken)
    yield
    POSTPROCESSORS.module_dict.pop('TestBrightness')
    POSTPROCESSORS.module_dict.pop('TestBroken')


def random_cam(rng, classes, size):
    grid = tuple(-(-n // 4) for n in size)
    return CAMFile(np.array(classes, np.int64), rng.random((len(classes), *grid)).astype(np.float16), size)


class Data:
    """A folder in VOC layout with CAMs; images: stem -> (size, classes)."""

    def __init__(self, root, images):
        self.root, self.cams, self.out = root / 'data', root / 'cams', root / 'labels'
        self.images = images
        rng = np.random.default_rng(0)
        (self.root / 'JPEGImages').mkdir(parents=True)
        (self.root / 'ImageSets').mkdir()
        (self.root / 'classes.txt').write_text('\n'.join(CLASSES))
        (self.root / 'ImageSets/train.txt').write_text('\n'.join(images))
        open_cam_dir(self.cams, CAMManifest('0' * 64, '1' * 64, CLASSES, {'stride': 4}))
        self.cam_files = {}
        for stem, (size, classes) in images.items():
            pixels = cv2.GaussianBlur(rng.integers(0, 256, (*size, 3)).astype(np.uint8), (0, 0), 3)
            Image.fromarray(pixels.reshape(*size, 3)).save(self.image(stem), quality=95)
            self.cam_files[stem] = random_cam(rng, classes, size)
            write_cam(self.cam(stem), self.cam_files[stem])

    def image(self, stem):
        return self.root / f'JPEGImages/{stem}.jpg'

    def cam(self, stem):
        return cam_path(self.cams, stem)

    def make(self, out=None, classes=None, saliency_dir=None, **options):
        options = {'background': BACKGROUND, 'num_workers': 0, **options}
        data = DataFolder.find(self.root, classes=classes, saliency_dir=saliency_dir)
        return make_pseudo_label(self.cams, data, 'train', out or self.out, **options)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(name='data')
def data_fixture(tmp_path):
    return Data(tmp_path, {'a': ((30, 41), [0]), 'b.c': ((24, 24), [1, 2]), 'c': ((1, 1), [2]), 'd': ((17, 9), []),
                           'e': ((33, 20), [0, 1, 2]), 'f': ((25, 31), [1])})
