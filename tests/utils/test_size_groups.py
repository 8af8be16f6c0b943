import itertools
import random

import pytest

from mmwsss.utils.size_groups import group_by_size


@pytest.mark.parametrize('batch_size, max_pixels', [(1, None), (4, None), (None, None), (7, 60), (None, 60), (8, 1),
                                                    (5, 10**6)])
@pytest.mark.parametrize('seed', range(3))
def test_group_by_size(seed, batch_size, max_pixels):
    rng = random.Random(seed)
    sizes = [rng.choice([(4, 6), (6, 4), (5, 5), (9, 2), (30, 40)]) for _ in range(60)]
    batches = group_by_size(sizes, batch_size, max_pixels)
    assert sorted(itertools.chain(*batches)) == list(range(len(sizes)))
    areas, batch_size = [], batch_size or 60
    for batch in batches:
        (height, width), = {sizes[i] for i in batch}
        areas.append(height * width)
        assert len(batch) <= batch_size and batch == sorted(batch)
        assert max_pixels is None or len(batch) == 1 or len(batch) * height * width <= max_pixels
    assert areas == sorted(areas, reverse=True)
    # No more batches than needed: only the last of a size may be short.
    for size in set(sizes):
        count = sizes.count(size)
        limit = min(batch_size, max(1, max_pixels // (size[0] * size[1]))) if max_pixels else batch_size
        assert sum(sizes[batch[0]] == size for batch in batches) == -(-count // limit)
