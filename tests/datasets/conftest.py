import json

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from mmwsss.structures.label_file import write_label


@pytest.fixture(autouse=True)
def our_scope():
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMWSSS_CACHE', str(tmp_path / 'preflight cache'))


@pytest.fixture
def write_image():
    """Writes a random image; the extension of the path says the format."""
    def write(path, height=12, width=16, seed=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        # imencode, since imwrite cannot write names outside ASCII everywhere
        path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
        return path
    return write


@pytest.fixture
def make_voc(tmp_path, write_image):
    """Makes a data set in VOC layout: image i is (10 + i) x 16 and shows class i modulo 2 of cat, dog."""
    def make(count=4, labels=True, masks=True, split='train', root=tmp_path / 'voc'):
        stems = [f'im_{i}' for i in range(count)]
        for i, stem in enumerate(stems):
            write_image(root / 'JPEGImages' / f'{stem}.jpg', height=10 + i, seed=i)
            if masks:
                mask = np.zeros((10 + i, 16), np.uint8)
                mask[2:6, 3:9] = 1 + i % 2
                mask[2:6, 9] = 255
                write_label(root / 'SegmentationClass' / f'{stem}.png', mask)
        (root / 'ImageSets').mkdir(parents=True, exist_ok=True)
        (root / 'ImageSets' / f'{split}.txt').write_text('\n'.join(stems) + '\n')
        (root / 'classes.txt').write_text('cat\ndog\n')
        if labels:
            (root / 'labels.json').write_text(json.dumps({s: [['cat', 'dog'][i % 2]] for i, s in enumerate(stems)}))
        return root
    return make


@pytest.fixture
def make_folder(tmp_path, write_image):
    """Makes a folder of PNG images named a, b, ... in `images`, with labels.csv and classes.txt."""
    def make(labels='a,cat\nb,dog\nc,cat;dog\n', images='abc', root=tmp_path / 'folder'):
        (root / 'images').mkdir(parents=True, exist_ok=True)
        for i, stem in enumerate(images):
            write_image(root / 'images' / f'{stem}.png', height=10 + i, seed=i)
        (root / 'labels.csv').write_text(labels)
        (root / 'classes.txt').write_text('cat\ndog\n')
        return root
    return make
