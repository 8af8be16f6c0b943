import copy
import gc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from mmwsss.engine import large_images
from mmwsss.engine.large_images import (
    available_memory,
    bytes_per_pixel,
    image_size,
    is_out_of_memory,
    limit_side,
    num_pixels,
    scale_batch,
    split_batch,
)
from mmwsss.utils.errors import UserError


def batch_of(*sizes):
    generator = torch.Generator().manual_seed(0)
    return dict(inputs=[torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes],
                data_samples=[SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, img_path=f'{i}.jpg'))
                              for i, size in enumerate(sizes)])


def test_larger_images_become_smaller():
    batch = batch_of((40, 80), (40, 80))
    assert limit_side(batch, None) is batch and limit_side(batch, 80) is batch
    small = limit_side(batch, 20)
    assert [tuple(image.shape) for image in small['inputs']] == [(3, 10, 20)] * 2
    for image, before in zip(small['inputs'], batch['inputs']):
        expected = F.interpolate(before[None].float(), (10, 20), mode='bilinear', antialias=True)[0]
        torch.testing.assert_close(image, expected)
    assert [sample.ori_shape for sample in small['data_samples']] == [(40, 80)] * 2
    assert [sample.img_shape for sample in small['data_samples']] == [(10, 20)] * 2
    # The batch that was given is as it was.
    assert batch['inputs'][0].shape == (3, 40, 80) and batch['data_samples'][0].img_shape == (40, 80)


def test_size_and_parts():
    batch = batch_of((4, 9), (6, 5))
    assert image_size(batch) == (6, 9) and num_pixels(batch) == 66
    parts = split_batch(batch)
    assert [part['data_samples'][0].img_path for part in parts] == ['0.jpg', '1.jpg']
    assert all(torch.equal(part['inputs'][0], image) for part, image in zip(parts, batch['inputs']))
    assert scale_batch(batch, 2)['inputs'][1].shape == (3, 12, 10)


@pytest.mark.parametrize(('error', 'expected'), [
    (MemoryError(), True), (torch.cuda.OutOfMemoryError('CUDA out of memory'), True),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"), True),
    (OSError(12, 'Cannot allocate memory'), True), (OSError(2, 'no such file'), False),
    (RuntimeError('shapes cannot be multiplied'), False), (UserError("can't allocate memory"), False)])
def test_errors_of_memory(error, expected):
    assert is_out_of_memory(error) == expected


def test_real_allocation_that_fails_is_recognised():
    with pytest.raises(RuntimeError) as info:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert is_out_of_memory(info.value)


@pytest.mark.parametrize('keep', [1, 3])
def test_bytes_per_pixel_are_those_of_the_live_tensors(keep):
    first = nn.Conv2d(3, 8, 3, padding=1)

    def predict(batch):
        x = batch['inputs'][0][None].float()  # 12 bytes a pixel
        with torch.no_grad():
            held = [first(x) for _ in range(keep)]  # 32 bytes a pixel each
            for _ in range(5):
                y = first(x)  # one at a time, for a moment two
                del y
                gc.collect()
        return held

    found = bytes_per_pixel(predict, batch_of((300, 400)))
    assert 12 + 32 * (keep + 1) <= found <= 12 + 32 * (keep + 2) + 1


def test_memory_that_is_there(tmp_path, monkeypatch):
    free = available_memory(torch.device('cpu'))
    assert 1e6 < free < 1e15
    monkeypatch.setattr(large_images, '_cgroup_rest', lambda: 12345)
    assert available_memory(torch.device('cpu')) == 12345
    assert available_memory(torch.device('meta')) is None


@pytest.mark.parametrize(('limit', 'stat', 'expected'), [
    ('1000', 'anon 5\ninactive_file 100\n', 700), ('max', '', None), ('300', 'inactive_file 0\n', 0)])
def test_memory_of_a_container(tmp_path, limit, stat, expected):
    (tmp_path / 'memory.max').write_text(limit)
    (tmp_path / 'memory.current').write_text('400')
    (tmp_path / 'memory.stat').write_text(stat)
    assert large_images._cgroup_rest(str(tmp_path)) == expected
    assert large_images._cgroup_rest(str(tmp_path / 'none')) is None


# ---- in the test loop

@pytest.fixture
def with_large_image(generated_copy):
    """The generated data with one image, and its mask, eight times as large: 512 x 512."""
    for folder, suffix, how in (('JPEGImages', 'jpg', Image.BICUBIC), ('SegmentationClass', 'png', Image.NEAREST)):
        path = next((generated_copy / folder).glob(f'train_00003.{suffix}'), None) or next(
            (generated_copy / folder).glob('train_00003.*'))
        image = Image.open(path)
        image.resize((512, 512), how).save(path)
    return generated_copy


@pytest.fixture
def make(tiny_cam_cfg, trained_checkpoint, tmp_path):
    from mmwsss.apis.cam_files import make_cam
    from mmwsss.structures import read_cam

    def run(name, data_root, **test_cfg):
        cfg = copy.deepcopy(tiny_cam_cfg)
        cfg.test_dataloader.dataset.data_root = str(data_root)
        cfg.test_cfg.update(test_cfg)
        result = make_cam(cfg, trained_checkpoint, tmp_path / name, 'train')
        return result, {path.stem: read_cam(path) for path in (tmp_path / name).glob('*.npz')}
    return run


@pytest.fixture(scope='session')
def trained_checkpoint(tmp_path_factory, repo_root, generated_root, tiny_cam_options):
    from mmwsss.apis.runner import train
    from mmwsss.config.config import load_config
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root,
                      {**tiny_cam_options, 'train_cfg.max_epochs': 1})
    return train(cfg, tmp_path_factory.mktemp('trained')).checkpoint


def test_longest_side_of_an_image(make, with_large_image, limited_memory):
    seen = limited_memory(10 ** 9)
    _, plain = make('plain', with_large_image, max_side=None)
    assert max(pixels for _, pixels in seen.calls) == 512 * 512
    seen.calls.clear()
    result, limited = make('limited', with_large_image, max_side=64)
    assert len(limited) == 12 and not result.skipped
    large = limited['train_00003']
    assert large.size == (512, 512) and large.cam.shape[1:] == (128, 128)
    assert max(pixels / count for count, pixels in seen.calls) == 64 * 64
    for stem in limited.keys() - {'train_00003'}:  # of 64 pixels, as they were
        assert limited[stem].cam.tobytes() == plain[stem].cam.tobytes()


def test_manifest_tells_the_longest_side(make, generated_root, tmp_path):
    from mmwsss.structures import read_manifest
    make('a', generated_root, max_side=128)
    assert read_manifest(tmp_path / 'a').extra['max_side'] == 128


@pytest.mark.parametrize('max_side', [10, 'large', 100.5])
def test_longest_side_must_be_a_number(make, generated_root, max_side):
    with pytest.raises(UserError, match='max_side'):
        make('a', generated_root, max_side=max_side)


class Fails:
    """Stands for the model's test step: more than some pixels at once, and there is no memory."""

    def __init__(self, limit, real):
        self.limit, self.real, self.calls = limit, real, []

    def __call__(self, loop, batch):
        pixels = num_pixels(batch)
        self.calls.append((len(batch['inputs']), pixels))
        if pixels > self.limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate many bytes")
        return self.real(loop, batch)


@pytest.fixture
def limited_memory(monkeypatch):
    from mmwsss.engine.loops import CAMTestLoop
    real = CAMTestLoop._forward

    def limit(pixels):
        fails = Fails(pixels, real)
        monkeypatch.setattr(CAMTestLoop, '_forward', lambda self, batch: fails(self, batch))
        return fails
    return limit


def test_batch_without_room_is_done_in_parts(make, generated_root, limited_memory):
    _, plain = make('plain', generated_root, max_side=None)
    fails = limited_memory(64 * 64)
    result, found = make('parts', generated_root, max_side=None)
    assert {count for count, _ in fails.calls} > {1} and not result.skipped
    for stem, expected in plain.items():
        np.testing.assert_allclose(found[stem].cam.astype(float), expected.cam, atol=2e-3)


def test_image_without_room_is_done_smaller(make, with_large_image, limited_memory):
    fails = limited_memory(150 * 150)
    result, found = make('smaller', with_large_image, max_side=None)
    assert len(found) == 12 and not result.skipped
    assert [pixels for count, pixels in fails.calls if pixels in (512 ** 2, 256 ** 2, 128 ** 2)][:3] == [
        512 ** 2, 256 ** 2, 128 ** 2]
    assert found['train_00003'].size == (512, 512)


def test_image_that_cannot_be_done_is_named(make, generated_root, limited_memory):
    limited_memory(0)
    result, found = make('none', generated_root, max_side=None)
    assert found == {} and len(result.skipped) == 12
    path, reason = result.skipped[0]
    assert path.endswith(('.jpg', '.png'))
    assert 'there is no memory' in reason and 'max_side' in reason


def test_estimate_saves_the_attempt(make, with_large_image, limited_memory, monkeypatch):
    fails = limited_memory(10 ** 9)
    monkeypatch.setattr('mmwsss.engine.loops.SMALL_BATCH', 512 * 512)
    per_pixel = []
    real = large_images.bytes_per_pixel

    def measured(predict, batch):
        per_pixel.append(real(predict, batch))
        return per_pixel[-1]
    monkeypatch.setattr(large_images, 'bytes_per_pixel', measured)
    # Room for a quarter of the pixels.
    monkeypatch.setattr(large_images, 'available_memory',
                        lambda device: large_images.MARGIN * per_pixel[0] * 512 * 512 / 4)
    _, found = make('estimated', with_large_image, max_side=None)
    assert len(per_pixel) == 1 and len(found) == 12
    largest = max(pixels for _, pixels in fails.calls)
    assert abs(largest - 256 * 256) <= 600 and 512 * 512 not in [pixels for _, pixels in fails.calls]


def test_other_errors_come_through(make, generated_root, monkeypatch):
    from mmwsss.engine.loops import CAMTestLoop

    def broken(self, batch):
        raise RuntimeError('shapes cannot be multiplied')
    monkeypatch.setattr(CAMTestLoop, '_forward', broken)
    with pytest.raises(RuntimeError, match='cannot be multiplied'):
        make('a', generated_root)
