import itertools
import random
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmwsss.engine.samplers import same_size_batch_sampler
from mmwsss.engine.samplers.same_size_batch_sampler import SameSizeBatchSampler
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError


@DATASETS.register_module(name='Sized', force=True)
class Sized(Dataset):

    def __init__(self, sizes):
        self.sizes = [tuple(size) for size in sizes]

    def __len__(self):
        return len(self.sizes)

    def get_data_info(self, index):
        return dict(height=self.sizes[index][0], width=self.sizes[index][1], stem=f'img{index}')

    def __getitem__(self, index):
        return dict(inputs=torch.zeros(self.sizes[index]), index=index)


def random_sizes(seed, count=40):
    rng = random.Random(seed)
    return [rng.choice([(4, 6), (6, 4), (5, 5), (9, 2), (30, 40)]) for _ in range(count)]


def sampler_of(sizes, monkeypatch=None, rank=0, world=1, **kwargs):
    if monkeypatch is not None:
        monkeypatch.setattr(same_size_batch_sampler, 'get_dist_info', lambda: (rank, world))
    return SameSizeBatchSampler(DefaultSampler(Sized(sizes), shuffle=False), **kwargs)


@pytest.mark.parametrize('world', [1, 2, 3, 5, 60])
def test_ranks_share_the_batches_of_one_process(monkeypatch, world):
    sizes = random_sizes(3)
    alone = list(sampler_of(sizes, batch_size=4))
    ranks = [sampler_of(sizes, monkeypatch, rank, world, batch_size=4) for rank in range(world)]
    dealt = [list(sampler) for sampler in ranks]
    assert sorted(itertools.chain(*dealt)) == sorted(alone)
    assert [len(sampler) for sampler in ranks] == [len(batches) for batches in dealt]
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    pixels = [sum(len(b) * sizes[b[0]][0] * sizes[b[0]][1] for b in batches) for batches in dealt]
    largest = max(len(b) * sizes[b[0]][0] * sizes[b[0]][1] for b in alone)
    assert max(pixels) - min(pixels) <= largest


def test_skips_only_whole_batches(tmp_path):
    sizes = [(4, 4)] * 6 + [(5, 5)] * 2
    existing = dict(dir=str(tmp_path / 'cams'), suffix='.npz')
    whole = list(sampler_of(sizes, batch_size=3))
    assert whole == [[6, 7], [0, 1, 2], [3, 4, 5]]
    assert list(sampler_of(sizes, batch_size=3, skip_existing=existing)) == whole  # no such folder yet
    (tmp_path / 'cams').mkdir()
    for i in (0, 1, 2, 3, 5, 6):
        (tmp_path / f'cams/img{i}.npz').touch()
    (tmp_path / 'cams/img7.png').touch()
    assert list(sampler_of(sizes, batch_size=3, skip_existing=existing)) == [[6, 7], [3, 4, 5]]
    for i in (4, 7):
        (tmp_path / f'cams/img{i}.npz').touch()
    assert len(sampler_of(sizes, batch_size=3, skip_existing=existing)) == 0


def test_skips_files_in_sub_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(Sized, 'get_data_info', lambda self, index: dict(height=4, width=4, stem=f'sub/d.{index}'))
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub/d.1.npz').touch()
    (tmp_path / 'd.0.npz').touch()  # another image's
    existing = dict(dir=str(tmp_path), suffix='.npz')
    assert list(sampler_of([(4, 4)] * 2, batch_size=1, skip_existing=existing)) == [[0]]


def test_all_ranks_skip_what_the_main_process_saw(tmp_path, monkeypatch):
    (tmp_path / 'img0.npz').touch()
    (tmp_path / 'img1.npz').touch()

    def broadcast(mask):  # the main process looked when img0 alone was there
        mask.copy_(torch.tensor([0, 1, 1]))

    monkeypatch.setattr(same_size_batch_sampler, 'broadcast', broadcast)
    sampler = sampler_of([(4, 4)] * 3, batch_size=1, skip_existing=dict(dir=str(tmp_path), suffix='.npz'))
    assert list(sampler) == [[1], [2]]


def test_through_the_runner():
    with DefaultScope.overwrite_default_scope('mmwsss'):  # as of a config; by itself the test has none
        loader = Runner.build_dataloader(dict(
            dataset=dict(type='Sized', sizes=random_sizes(0, 12)), batch_size=4, num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_sampler=dict(type='SameSizeBatchSampler', max_pixels=100)))
    seen = []
    for batch in loader:
        assert len({tuple(image.shape) for image in batch['inputs']}) == 1
        seen += batch['index']
    assert sorted(seen) == list(range(12)) and len(loader) == len(loader.batch_sampler)


def test_mistakes():
    with pytest.raises(UserError, match=r'shuffle=False'):
        SameSizeBatchSampler(DefaultSampler(Sized([(1, 1)]), shuffle=True), batch_size=2)
    for options in (dict(batch_size=0), dict(batch_size=1, max_pixels=0)):
        with pytest.raises(UserError, match='positive'):
            sampler_of([(1, 1)], **options)
    no_size = Sized([(1, 1)])
    no_size.get_data_info = lambda index: dict(img_path='a.jpg', height=3)
    with pytest.raises(UserError, match=r'Sized does not tell the width of a\.jpg'):
        SameSizeBatchSampler(SimpleNamespace(dataset=no_size), batch_size=1)


def test_empty_data_set():
    assert list(sampler_of([], batch_size=3)) == []
