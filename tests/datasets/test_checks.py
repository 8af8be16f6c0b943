import itertools

import pytest
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from mmwsss.datasets.checks import check_batch_size
from mmwsss.utils.errors import UserError


@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_an_epoch_of_what_passes_has_a_batch(monkeypatch, world_size):
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (0, world_size))
    for length, batch_size, drop_last in itertools.product(range(1, 14), range(1, 7), (True, False)):
        dataset = list(range(length))
        loader = DataLoader(dataset, batch_size, sampler=DefaultSampler(dataset), drop_last=drop_last)
        try:
            check_batch_size(length, batch_size, drop_last, world_size)
            passes = True
        except UserError:
            passes = False
        assert passes == (len(loader) > 0), (length, batch_size, drop_last)


def test_message_has_the_numbers_and_the_remedy():
    with pytest.raises(UserError, match=r'has 10 images which is less than one batch of 16; give --cfg-options '
                                        r'train_dataloader\.batch_size=10 '):
        check_batch_size(10, 16, True)
    with pytest.raises(UserError, match=r'10 images, 3 for each of 4 processes, .* of 16; .*batch_size=3 '):
        check_batch_size(10, 16, True, 4)
    with pytest.raises(UserError, match=r'10 images, 3 for each of 4 processes, .* of 16; .*batch_size=12 '):
        check_batch_size(10, 16, True, 4, is_shared=True)
    with pytest.raises(UserError, match='has no image'):
        check_batch_size(0, 16, False)
