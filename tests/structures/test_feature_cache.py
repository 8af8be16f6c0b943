import json
import os

import pytest
import torch

from mmwsss.structures.feature_cache import FeatureCache, image_digest
from mmwsss.utils.errors import UserError

SETTINGS = dict(weights='abc', long_side=336, mean=[1.5, 2.0])


def image(seed=0, height=5, width=7):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def feats(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {'0': (4, 2, 3), '1': (2, 1, 2)}
    return {name: torch.randn(shape, generator=generator).half() for name, shape in shapes.items()}


def test_digest_is_of_the_pixels_and_their_shape():
    pixels = image()
    assert image_digest(pixels) == image_digest(pixels.clone()) == image_digest(pixels.permute(1, 2, 0).contiguous()
                                                                                .permute(2, 0, 1))
    changed = pixels.clone()
    changed[1, 2, 3] ^= 1
    assert len({image_digest(p) for p in (pixels, changed, pixels.reshape(3, 7, 5), pixels.flip(0))}) == 4


def test_what_is_written_is_read(tmp_path):
    cache = FeatureCache(tmp_path / 'cache', SETTINGS)
    digest = image_digest(image())
    assert cache.read(digest) is None
    cache.write(digest, feats())
    found = FeatureCache(tmp_path / 'cache', dict(SETTINGS)).read(digest)
    assert list(found) == ['0', '1']
    for name, value in feats().items():
        assert found[name].dtype == torch.float16 and torch.equal(found[name], value)
    # the same content gives the same bytes, so that it does not matter which process wrote it
    before = cache.path(digest).read_bytes()
    cache.write(digest, feats())
    assert cache.path(digest).read_bytes() == before


def test_other_settings_have_a_folder_of_their_own(tmp_path):
    first, digest = FeatureCache(tmp_path, SETTINGS), image_digest(image())
    first.write(digest, feats())
    for change in (dict(weights='abd'), dict(long_side=448), dict(mean=[1.5, 2.5]), dict(extra=1)):
        other = FeatureCache(tmp_path, {**SETTINGS, **change})
        assert other.folder != first.folder and other.read(digest) is None
        assert json.loads((other.folder / 'manifest.json').read_text()).items() >= {**SETTINGS, **change}.items()


@pytest.mark.parametrize('damage', ['cut', 'empty', 'text', 'float32', 'no maps'])
def test_damaged_files_are_made_again(tmp_path, damage):
    cache, digest = FeatureCache(tmp_path, SETTINGS), image_digest(image())
    cache.write(digest, feats())
    path = cache.path(digest)
    data = path.read_bytes()
    if damage == 'float32':
        cache.write(digest, {'0': feats()['0'].float()})
    elif damage == 'no maps':
        cache.write(digest, {})
    else:
        path.write_bytes({'cut': data[:len(data) // 2], 'empty': b'', 'text': b'no archive'}[damage])
    assert cache.read(digest) is None
    cache.write(digest, feats())
    assert path.read_bytes() == data


def test_leftovers_of_dead_processes_are_removed(tmp_path):
    cache, digest = FeatureCache(tmp_path, SETTINGS), image_digest(image())
    cache.write(digest, feats())
    names = os.listdir(cache.path(digest).parent)
    assert names == [f'{digest}.npz']


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'file: features cannot be kept there .*cache_dir'):
        FeatureCache(tmp_path / 'file', SETTINGS)
    folder = FeatureCache(tmp_path / 'cache', SETTINGS).folder
    for content in ('{}', 'no json'):
        (folder / 'manifest.json').write_text(content)
        with pytest.raises(UserError, match=r'manifest\.json: .*delete'):
            FeatureCache(tmp_path / 'cache', SETTINGS)
