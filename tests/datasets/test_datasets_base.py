import random
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.runner import Runner

from mmwsss.datasets import ImageLabelDataset, on_rank_zero, sample_seed
from mmwsss.utils.errors import UserError

PIPELINE = [dict(type='LoadImage'), dict(type='RandomResizeLong', long_side=(8, 60)),
            dict(type='RandomCrop', crop_size=(8, 8)), dict(type='RandomFlip', prob=0.5), dict(type='PackWSSSInputs')]


@pytest.fixture
def make_dataset(make_folder):
    def make(**options):
        stems = [chr(ord('a') + i) for i in range(6)]
        root = make_folder(labels=''.join(f'{s},cat\n' for s in stems), images=stems)
        return ImageLabelDataset(root, **{'pipeline': PIPELINE, 'seed': 5, **options})
    return make


def pixels(dataset):
    return [sample['inputs'] for sample in map(dataset.__getitem__, range(len(dataset)))]


def same(first, second):
    return [torch.equal(a, b) for a, b in zip(first, second, strict=True)]


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_sample_seed_depends_on_all_three_numbers_and_nothing_else():
    seen = set()
    for numbers in [(5, 0, 0), (5, 0, 1), (5, 1, 0), (6, 0, 0)]:
        with sample_seed(*numbers):
            first = draws()
        draws()
        with sample_seed(*numbers):
            assert draws() == first
        seen.add(first)
    assert len(seen) == 4


def test_sample_seed_leaves_the_generators_as_they_were():
    def seed():
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
    seed()
    expected = draws()
    seed()
    with pytest.raises(ValueError), sample_seed(1, 2, 3):
        draws()
        raise ValueError
    assert draws() == expected


def test_augmentation_depends_on_seed_epoch_and_index_alone(make_dataset):
    dataset = make_dataset()
    first = pixels(dataset)
    np.random.seed(99)
    assert all(same(reversed(pixels(dataset)), reversed(first)))
    assert torch.equal(dataset[-1]['inputs'], first[-1])
    dataset.set_epoch(1)
    assert not all(same(pixels(dataset), first))
    dataset.set_epoch(0)
    assert all(same(pixels(dataset), first))
    assert not all(same(pixels(make_dataset(seed=6)), first))


def test_without_seed_the_generators_of_the_caller_are_used(make_dataset):
    dataset = make_dataset(seed=None)
    np.random.seed(1)
    first = pixels(dataset)
    assert not all(same(pixels(dataset), first))
    np.random.seed(1)
    assert all(same(pixels(dataset), first))


@pytest.mark.parametrize('start_method, workers', [('fork', 2), ('spawn', 1)])
def test_workers_give_the_same_samples_and_follow_the_epoch(make_dataset, start_method, workers):
    dataset = make_dataset()
    expected = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        expected.append(pixels(dataset))
    assert not all(same(*expected))
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, num_workers=workers, persistent_workers=True,
                                         collate_fn=list, multiprocessing_context=start_method)
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)  # the workers live on
        assert all(same([sample['inputs'] for batch in loader for sample in batch], expected[epoch]))


def test_mmengine_builds_a_loader(make_dataset, make_folder):
    root = make_folder()
    loader = Runner.build_dataloader(dict(
        dataset=dict(type='ImageLabelDataset', data_root=str(root), pipeline=PIPELINE, seed=1, lazy_init=True),
        sampler=dict(type='DefaultSampler', shuffle=False), batch_size=2, num_workers=1), seed=1)
    batches = list(loader)
    assert [s.stem for batch in batches for s in batch['data_samples']] == ['a', 'b', 'c']
    assert batches[1]['data_samples'][0].gt_img_label.label.tolist() == [1, 1]


@pytest.mark.parametrize('serialize_data', [True, False])
def test_subset(make_dataset, serialize_data):
    dataset = make_dataset(serialize_data=serialize_data)
    first = pixels(dataset)
    subset = dataset.get_subset(2)
    assert all(same(pixels(subset), first[:2]))
    subset.set_epoch(7)
    assert subset._epoch.is_shared() and dataset._epoch == 0
    assert all(same(pixels(dataset), first))


def test_index_out_of_range(make_dataset):
    dataset = make_dataset()
    for index in (6, -7):
        with pytest.raises(IndexError):
            dataset[index]
    assert len(list(dataset)) == 6


def empty(path):
    path.write_bytes(b'')


@pytest.mark.parametrize('loader, damage', [
    ('LoadImage', Path.unlink), ('LoadImage', empty), ('LoadImageFromFile', Path.unlink)])
@pytest.mark.parametrize('test_mode', [True, False])
def test_file_that_changed_is_named_and_nothing_stands_for_it(make_dataset, loader, damage, test_mode, tmp_path):
    dataset = make_dataset(pipeline=[dict(type=loader)], test_mode=test_mode)
    path = tmp_path / 'folder' / 'images' / 'b.png'
    damage(path)
    with pytest.raises(UserError) as error:
        dataset[1]
    assert str(error.value).startswith(f'{path}: ') and '\n' not in str(error.value)
    assert dataset[0]['img'].shape == (10, 16, 3)


def test_error_in_a_worker_names_the_file(make_dataset, tmp_path):
    dataset = make_dataset()
    (tmp_path / 'folder' / 'images' / 'b.png').unlink()
    loader = torch.utils.data.DataLoader(dataset, num_workers=1, collate_fn=list)
    with pytest.raises(UserError, match=r'b\.png: cannot be read as an image'):
        list(loader)


def test_pipeline_that_gives_nothing(make_dataset):
    dataset = make_dataset(pipeline=[lambda results: None])
    with pytest.raises(UserError, match=r'a\.png: the pipeline gave nothing'):
        dataset[0]


def _rank(rank, port, root, queue):
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    calls = []
    value = on_rank_zero(lambda: calls.append(rank) or {'from': rank})
    dataset = ImageLabelDataset(root, missing_label='skip')
    try:
        ImageLabelDataset(root)
        message = ''
    except UserError as error:
        message = str(error)
    stems = [dataset.get_data_info(i)['stem'] for i in range(len(dataset))]
    queue.put((rank, calls, value, stems, dataset.skipped, message))
    dist.barrier()
    dist.destroy_process_group()


def test_ranks_get_the_list_and_the_errors_of_rank_zero(make_folder):
    root = make_folder(labels='a,cat\nb,dog\n')
    (root / 'images' / 'a.png').write_bytes(b'x')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    context = mp.get_context('fork')
    queue = context.Queue()
    processes = [context.Process(target=_rank, args=(rank, port, root, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    first, second = sorted(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert first[1] == [0] and second[1] == []
    assert first[2:] == second[2:]
    _, _, value, stems, skipped, message = second
    assert value == {'from': 0} and stems == ['b'] and len(skipped) == 2 and 'no label for c.png' in message


def test_errors_pass_through_without_ranks():
    with pytest.raises(ZeroDivisionError):
        on_rank_zero(lambda: 1 / 0)
    assert on_rank_zero(lambda: 3) == 3
